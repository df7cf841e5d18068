import { abortable } from './abortable.ts'
import { deferred } from './deferred.ts'

/** Something that changes again and again, and those who wait for the next time. */
export class Changes {
  #next = deferred<undefined>()

  /** It has changed: wakes all who wait. */
  tell (): void {
    const told = this.#next
    this.#next = deferred<undefined>()
    told.resolve(undefined)
  }

  /** Resolves at the next change, or when the signal aborts; never rejects. */
  next (signal?: AbortSignal): Promise<undefined> {
    const { promise } = this.#next
    return signal === undefined ? promise : abortable(promise, signal).catch(() => undefined)
  }
}
