/** Requests that may fail one after the other, without that a block comes between, while others of the same fill go on. */
export const MAX_FAILURES = 3
/** Requests that may fail in all, whatever comes between. */
export const MAX_ALL_FAILURES = 32

/** Failed requests of one fill by blocks. */
export class RunFailures {
  #inRow = 0
  #all = 0

  /** A block came. */
  progress (): void {
    this.#inRow = 0
  }

  /** A request has failed. @returns whether so many have that no more are sent */
  failed (): boolean {
    return ++this.#inRow > MAX_FAILURES || ++this.#all > MAX_ALL_FAILURES
  }
}
