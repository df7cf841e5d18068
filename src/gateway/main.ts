import { Socket } from 'node:net'
import { systemClock } from '../base/clock.ts'
import { Channel, CHANNEL_FD } from '../channel/channel.ts'
import type { FromGateway } from '../channel/from-gateway.ts'
import type { ToGateway } from '../channel/to-gateway.ts'
import { Gateway } from './gateway.ts'

/* Entry of the gateway process. It lives and dies with its relay: without the channel it has no objects to serve. */

let gateway: Gateway | undefined

const channel = new Channel(new Socket({ fd: CHANNEL_FD, readable: true, writable: true }), {
  message: message => { take(message as ToGateway) },
  broken: () => { process.exit(1) },
  closed: () => { process.exit(0) }
})

function send (message: FromGateway, sent?: () => void): void {
  // The relay holds an object a moment longer, and is woken once less for each.
  if (message.type === 'release') channel.sendSoon(message)
  else channel.send(message, sent)
}

/** What it cannot start with it cannot run without: the relay starts another one, after growing pauses. */
function fail (error: unknown): void {
  channel.send({ type: 'failed', detail: (error instanceof Error ? error.stack ?? error.message : String(error)).slice(0, 4_000) } satisfies FromGateway, () => { process.exit(1) })
}

function take (message: ToGateway): void {
  if (message.type === 'start') {
    gateway = new Gateway(message.settings, message.live, send, systemClock)
    gateway.start().catch(fail)
  } else if (message.type === 'stop') {
    const end = (): void => { channel.end() }
    (gateway?.stop(message.deadlineMs) ?? Promise.resolve()).then(end, end)
  } else {
    gateway?.take(message)
  }
}

// A terminal signals the whole group; the relay gets its signals too and stops the gateway in its own time.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGUSR1'] as const) process.on(signal, () => {})
