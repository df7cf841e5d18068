import { systemCode } from '../errors.ts'
import { failsHttp3Transport } from './transports/fails/http3.ts'
import { loadLibrary } from './transports/fails/library.ts'
import { failsWebSocketTransport } from './transports/fails/websocket.ts'
import { bundledTransport } from './transports/http3/server.ts'
import type { EngineChoice } from './protocol.ts'
import type { ListenerEvents, ListenerOptions, TransportListener, ViewerTransport } from './transports/viewer-transport.ts'

export interface Road {
  readonly listener: TransportListener | undefined
  /** One sentence for the log: what runs and why, or why nothing does. */
  readonly note: string
  /** Whether it may work later: an address in use comes free, a missing package does not appear. */
  readonly retry: boolean
}

const message = (error: unknown): string => error instanceof Error ? error.message : String(error)

/** What the system refuses today and may grant tomorrow. */
const PASSING_CODES = ['EADDRINUSE', 'EADDRNOTAVAIL', 'EACCES', 'EMFILE', 'ENFILE', 'ENOBUFS', 'ENOMEM']

function passes (error: unknown): boolean {
  return PASSING_CODES.some(code => systemCode(error) === code || message(error).includes(code))
}

/** The HTTP/3 engine of the configured choice; `auto` prefers fails-components when its optional package is installed. */
export async function openHttp3 (choice: EngineChoice, options: ListenerOptions, events: ListenerEvents): Promise<Road> {
  const candidates: { transport: ViewerTransport, why: string }[] = []
  const failures: string[] = []
  const missing = choice === 'bundled' ? undefined : await loadLibrary().then(({ http3Missing }) => http3Missing, message)
  if (choice !== 'bundled' && missing === undefined) candidates.push({ transport: failsHttp3Transport(), why: 'its optional package is installed' })
  if (choice !== 'fails') candidates.push({ transport: bundledTransport, why: choice === 'bundled' ? 'it is configured' : missing ?? 'the other engine did not start' })
  if (choice === 'fails' && missing !== undefined) failures.push(missing)
  let retry = false
  for (const { transport, why } of candidates) {
    try {
      const listener = await transport.listen(options, events)
      return { listener, note: `HTTP/3 engine ${transport.name}, because ${why}`, retry: false }
    } catch (error) {
      failures.push(`${transport.name}: ${message(error)}`)
      retry ||= passes(error)
    }
  }
  return { listener: undefined, note: `no HTTP/3: ${failures.join('; ')}`, retry }
}

/** The road over TCP for networks that block UDP. */
export async function openWebSocket (options: ListenerOptions, events: ListenerEvents): Promise<Road> {
  try {
    const transport = failsWebSocketTransport()
    return { listener: await transport.listen(options, events), note: `WebSocket and HTTP/2 by ${transport.name}`, retry: false }
  } catch (error) {
    return { listener: undefined, note: `no WebSocket: ${message(error)}`, retry: passes(error) }
  }
}
