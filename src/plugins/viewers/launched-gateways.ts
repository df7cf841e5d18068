import { Socket } from 'node:net'
import { Channel } from '../../channel/channel.ts'
import { LAUNCHED, type FromLauncher, type ToLauncher } from '../../channel/launcher-messages.ts'
import type { SendToGateway, ToGateway } from '../../channel/to-gateway.ts'
import type { Config } from '../../config/config.ts'
import type { GatewayProcess, GatewayProcessEvents, StartGateway } from '../../spawn/gateway-process.ts'

/** Whether a launcher has started this relay. */
export const isLaunched = (): boolean => process.env[LAUNCHED] === '1' && process.send !== undefined

/** Whether the gateway is another user, who reads cached shards as a member of our group. */
export const hasSeparateGateway = ({ process: users }: Pick<Config, 'process'>): boolean => isLaunched() && users.gateway_user !== ''

/** A relay without its launcher stops as by SIGTERM: nobody could start its gateway again. */
export function stopWithLauncher (): void {
  process.once('disconnect', () => { process.kill(process.pid, 'SIGTERM') })
}

function tell (message: ToLauncher): void {
  if (process.connected) process.send?.(message, undefined, {}, () => {})
}

/** Has the launcher start gateways; one lives at a time. */
export const launchedGateways: StartGateway = events => new LaunchedGateway(events)

class LaunchedGateway implements GatewayProcess {
  readonly #events: GatewayProcessEvents
  #channel: Channel | undefined
  #pid: number | undefined
  /** Said before there is a channel. */
  #early: (readonly [ToGateway, (() => void) | undefined])[] = []
  #over = false

  constructor (events: GatewayProcessEvents) {
    this.#events = events
    process.on('message', this.#hear)
    process.once('disconnect', this.#alone)
    tell({ type: 'start-gateway' })
  }

  get pid (): number | undefined { return this.#pid }

  readonly send: SendToGateway = (message, sent) => {
    if (this.#over) sent?.()
    else if (this.#channel === undefined) this.#early.push([message, sent])
    else this.#channel.send(message, sent)
  }

  readonly kill = (): void => { tell({ type: 'kill-gateway' }) }

  readonly #hear = (value: unknown, socket?: unknown): void => {
    const message = value as FromLauncher
    switch (message.type) {
      case 'gateway': this.#begin(message.pid, socket); break
      case 'gateway-output': this.#events.output(message.text); break
      case 'gateway-failed': this.#events.failed(new Error(message.detail)); break
      case 'gateway-ended': this.#end(message.code, message.signal); break
    }
  }

  readonly #alone = (): void => { this.#end(null, null) }

  #begin (pid: number, socket: unknown): void {
    this.#pid = pid
    // The other end has closed already; its end is on its way to us.
    if (!(socket instanceof Socket)) return
    this.#channel = new Channel(socket, { message: this.#events.message, broken: this.#events.broken, closed: () => {} })
    for (const [message, sent] of this.#early.splice(0)) this.#channel.send(message, sent)
  }

  #end (code: number | null, signal: NodeJS.Signals | null): void {
    if (this.#over) return
    this.#over = true
    process.off('message', this.#hear)
    process.off('disconnect', this.#alone)
    for (const [, sent] of this.#early.splice(0)) sent?.()
    this.#events.closed(code, signal)
  }
}
