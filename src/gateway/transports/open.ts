import { systemCode } from '../../base/errors.ts'
import type { PerTransport } from '../../protocol/session-transports.ts'
import type { GatewaySettings } from '../../channel/to-gateway.ts'
import { engineFile, loadEngine } from '../../quinn/engine-file.ts'
import { failsHttp3Transport } from './fails/http3.ts'
import { failsWebSocketTransport } from './fails/websocket.ts'
import { quinnTransport } from './quinn/server.ts'
import type { ListenerEvents, ListenerOptions, TransportListener } from './viewer-transport.ts'

/** A transport that is open, or why it is not. */
export interface OpenedTransport {
  readonly listener: TransportListener | undefined
  /** One sentence for the log: what runs, or why nothing does. */
  readonly note: string
  /** Whether it may work later: an address in use comes free, a missing package does not appear. */
  readonly retry: boolean
}

type EngineSettings = Pick<GatewaySettings, 'transport' | 'engineDirectory'>

/** Opens a transport; never rejects. */
export type OpenTransport = (settings: EngineSettings, options: ListenerOptions, events: ListenerEvents) => Promise<OpenedTransport>

const message = (error: unknown): string => error instanceof Error ? error.message : String(error)

/** What the system refuses today and may grant tomorrow. */
const PASSING_CODES = ['EADDRINUSE', 'EADDRNOTAVAIL', 'EACCES', 'EMFILE', 'ENFILE', 'ENOBUFS', 'ENOMEM']

function passes (error: unknown): boolean {
  return PASSING_CODES.some(code => systemCode(error) === code || message(error).includes(code))
}

/** WebTransport over HTTP/3 by the configured engine, which is quinn unless the other one is named. */
async function openWebTransport ({ transport: { engine, glibc_shim: shim }, engineDirectory }: EngineSettings, options: ListenerOptions, events: ListenerEvents): Promise<OpenedTransport> {
  const transport = engine === 'fails'
    ? failsHttp3Transport()
    : quinnTransport(() => loadEngine(engineFile({ directory: engineDirectory, shim, log: (...line) => { events.log(...line) } })))
  try {
    return { listener: await transport.listen(options, events), note: `HTTP/3 engine ${transport.name}`, retry: false }
  } catch (error) {
    return { listener: undefined, note: `no HTTP/3 (${transport.name}: ${message(error)}); viewers have WebSocket and HTTP`, retry: passes(error) }
  }
}

/** By fails-components. */
async function openWebSocket (_settings: EngineSettings, options: ListenerOptions, events: ListenerEvents): Promise<OpenedTransport> {
  try {
    const transport = failsWebSocketTransport()
    return { listener: await transport.listen(options, events), note: `WebSocket and HTTP/2 by ${transport.name}`, retry: false }
  } catch (error) {
    return { listener: undefined, note: `no WebSocket: ${message(error)}`, retry: passes(error) }
  }
}

export const OPEN: PerTransport<OpenTransport> = { webtransport: openWebTransport, websocket: openWebSocket }
