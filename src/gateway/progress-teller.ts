import { deferred } from '../deferred.ts'
import type { SendToGateway } from './protocol.ts'

/** Progress is told at most this often, ms: hundreds of viewers of one fill cost one message, and none can tell the difference. */
const PROGRESS_MS = 4

/** Gathers how far growing files may be read, one message for all of them, and the next only when the channel has taken the last. */
export class ProgressTeller {
  readonly #send: SendToGateway
  readonly #news = new Map<number, number>()
  #next = deferred<undefined>()
  #timer: NodeJS.Timeout | undefined
  #unsent = false
  #over = false

  constructor (send: SendToGateway) {
    this.#send = send
  }

  get waiting (): number { return this.#news.size }

  /** Resolves when the message is on its way, or nobody is there to hear it. */
  async tell (lease: number, readable: number): Promise<void> {
    if (this.#over) return
    this.#news.set(lease, readable)
    this.#arm()
    await this.#next.promise
  }

  end (): void {
    this.#over = true
    clearTimeout(this.#timer)
    this.#news.clear()
    this.#next.resolve(undefined)
  }

  #arm (): void {
    if (this.#timer !== undefined || this.#unsent || this.#news.size === 0 || this.#over) return
    this.#timer = setTimeout(() => { this.#flush() }, PROGRESS_MS)
  }

  #flush (): void {
    this.#timer = undefined
    const told = this.#next
    const leases = [...this.#news]
    this.#news.clear()
    this.#next = deferred<undefined>()
    this.#unsent = true
    this.#send({ type: 'progress', leases }, () => {
      this.#unsent = false
      this.#arm()
    })
    told.resolve(undefined)
  }
}
