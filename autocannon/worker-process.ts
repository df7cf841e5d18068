import { startChild } from '../tools/harness/child.ts'
import type { Cleanup } from '../tools/harness/cleanup.ts'
import type { ManagedProcess } from '../tools/harness/managed-process.ts'

/** A program of this folder in a process of its own that answers every order it is sent, one at a time, with an outcome or an error. */
export class WorkerProcess<Order extends object, Outcome> {
  readonly #child: ManagedProcess

  /** @param file name of the program in this folder; it ends with the cleanup */
  constructor (cleanup: Cleanup, file: string) {
    this.#child = startChild(cleanup, `autocannon/${file}`)
  }

  get pid (): number { return this.#child.pid }

  /** @throws Error that the process told, or that it ended */
  async run (order: Order): Promise<Outcome> {
    const { outcome, error } = await this.#child.ask<{ readonly outcome?: Outcome, readonly error?: string }>(order)
    if (outcome === undefined) throw new Error(`${this.#child.name}: ${error ?? 'no outcome'}`)
    return outcome
  }
}
