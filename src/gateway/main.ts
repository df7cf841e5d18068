import { systemClock } from '../clock.ts'
import type { FromGateway } from './from-gateway.ts'
import { Gateway } from './gateway.ts'
import type { ToGateway } from './protocol.ts'

/* Entry of the gateway process. It lives and dies with its relay: without the IPC channel it has no objects to serve. */

let gateway: Gateway | undefined

function send (message: FromGateway, sent: () => void = () => {}): void {
  // The channel may close between two messages; the disconnect event then ends the process.
  if (process.connected) process.send?.(message, undefined, undefined, sent)
}

/** What it cannot start with it cannot run without: the relay starts another one, later and later. */
function fail (error: unknown): void {
  send({ type: 'failed', detail: (error instanceof Error ? error.stack ?? error.message : String(error)).slice(0, 4_000) }, () => { process.exit(1) })
}

function take (message: ToGateway): void {
  if (message.type === 'start') {
    gateway = new Gateway(message.settings, send, systemClock)
    gateway.start().catch(fail)
  } else if (message.type === 'stop') {
    const end = (): void => { if (process.connected) process.disconnect() }
    (gateway?.stop(message.deadlineMs) ?? Promise.resolve()).then(end, end)
  } else {
    gateway?.take(message)
  }
}

process.on('message', message => { take(message as ToGateway) })
process.on('disconnect', () => { process.exit(0) })
// A terminal signals the whole group; the relay gets its signals too and stops the gateway in its own time.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => {})
send({ type: 'hello' })
