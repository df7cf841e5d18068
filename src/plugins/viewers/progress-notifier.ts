import { deferred } from '../../base/deferred.ts'
import type { SendToGateway } from '../../channel/to-gateway.ts'

/** Progress is told at most this often, ms: hundreds of viewers of one fill cost one message, and none can tell the difference. */
const PROGRESS_MS = 4

/** Gathers how far growing files may be read, one message for all of them, and the next only when the channel has taken the last. */
export class ProgressNotifier {
  readonly #send: SendToGateway
  /** How to learn how far the file of a lease may be read: asked when the message leaves, which may be much later. */
  readonly #news = new Map<number, () => number>()
  /** Resolves with what the next message says. */
  #next = deferred<ReadonlyMap<number, number>>()
  #timer: NodeJS.Timeout | undefined
  #unsent = false
  #over = false

  constructor (send: SendToGateway) {
    this.#send = send
  }

  get waiting (): number { return this.#news.size }

  /** Resolves with what was told when the message is on its way, or nobody is there to hear it. */
  async tell (lease: number, readable: () => number): Promise<number> {
    if (this.#over) return readable()
    this.#news.set(lease, readable)
    this.#arm()
    return (await this.#next.promise).get(lease) ?? readable()
  }

  end (): void {
    this.#over = true
    clearTimeout(this.#timer)
    this.#news.clear()
    this.#next.resolve(new Map())
  }

  #arm (): void {
    if (this.#timer !== undefined || this.#unsent || this.#news.size === 0 || this.#over) return
    this.#timer = setTimeout(() => { this.#flush() }, PROGRESS_MS)
  }

  #flush (): void {
    this.#timer = undefined
    const told = this.#next
    const leases = [...this.#news].map(([lease, readable]) => [lease, readable()] as const)
    this.#news.clear()
    this.#next = deferred<ReadonlyMap<number, number>>()
    this.#unsent = true
    this.#send({ type: 'progress', leases }, () => {
      this.#unsent = false
      this.#arm()
    })
    told.resolve(new Map(leases))
  }
}
