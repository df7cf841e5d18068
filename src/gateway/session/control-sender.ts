import { encodeControl } from '../../protocol/control-messages.ts'
import type { ControlMessage } from '../../protocol/control-messages.ts'
import type { SendStream } from '../../protocol/transport-session.ts'

/**
 * The control stream of a session. Each type of message waits at most once, the latest wins: a viewer that does not read
 * costs one message of each type and no more. A stream that fails ends the sending quietly; the session does not depend on it.
 */
export class ControlSender {
  readonly #open: () => Promise<SendStream>
  readonly #waiting = new Map<ControlMessage['type'], ControlMessage>()
  #running = false
  #stopped = false
  #stream: SendStream | undefined

  constructor (open: () => Promise<SendStream>) {
    this.#open = open
  }

  get waiting (): number { return this.#waiting.size }

  send (message: ControlMessage): void {
    if (this.#stopped) return
    this.#waiting.set(message.type, message)
    if (!this.#running) this.#run().catch(() => this.stop())
  }

  stop (): void {
    this.#stopped = true
    this.#waiting.clear()
  }

  async #run (): Promise<void> {
    this.#running = true
    try {
      this.#stream ??= await this.#open()
      for (;;) {
        const [message] = this.#waiting.values()
        if (message === undefined) break
        this.#waiting.delete(message.type)
        await this.#stream.write(encodeControl(message))
      }
    } finally {
      this.#running = false
    }
  }
}
