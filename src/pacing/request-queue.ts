interface Request<T> {
  readonly ticket: T
  readonly bytes: number
  previous: Request<T> | undefined
  next: Request<T> | undefined
}

/** Requests of one viewer, first come, first served; any of them leaves in O(1). (A Map alone would walk over what left its front.) */
export class RequestQueue<T> {
  readonly #requests = new Map<T, Request<T>>()
  #first: Request<T> | undefined
  #last: Request<T> | undefined

  get size (): number { return this.#requests.size }
  get first (): { readonly ticket: T, readonly bytes: number } | undefined { return this.#first }

  push (ticket: T, bytes: number): void {
    if (this.#requests.has(ticket)) throw new Error('the ticket waits already')
    const request: Request<T> = { ticket, bytes, previous: this.#last, next: undefined }
    if (this.#last === undefined) this.#first = request
    else this.#last.next = request
    this.#last = request
    this.#requests.set(ticket, request)
  }

  /** Whether the ticket waited. */
  remove (ticket: T): boolean {
    const request = this.#requests.get(ticket)
    if (request === undefined) return false
    this.#requests.delete(ticket)
    if (request.previous === undefined) this.#first = request.next
    else request.previous.next = request.next
    if (request.next === undefined) this.#last = request.previous
    else request.next.previous = request.previous
    return true
  }

  /** Tickets in their order. */
  * tickets (): Generator<T> {
    for (let request = this.#first; request !== undefined; request = request.next) yield request.ticket
  }
}
