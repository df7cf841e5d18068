import type { ChildProcess } from 'node:child_process'
import { startChild } from '../tools/harness/child.ts'
import type { Cleanup } from '../tools/harness/cleanup.ts'

/** A program of this folder in a process of its own that answers every order it is sent, one at a time, with an outcome or an error. */
export class WorkerProcess<Order extends object, Outcome> {
  readonly #child: ChildProcess
  readonly #file: string
  readonly #exit: Promise<never>
  #stderr = ''

  private constructor (child: ChildProcess, file: string) {
    this.#child = child
    this.#file = file
    child.stderr?.setEncoding('utf8').on('data', (text: string) => { this.#stderr = (this.#stderr + text).slice(-4_000) })
    this.#exit = new Promise((_resolve, reject) => {
      child.once('error', reject)
      child.once('close', (code, signal) => { reject(new Error(`${this.#file} ended with ${code ?? signal ?? ''}: ${this.#stderr}`)) })
    })
    // Nobody may be waiting for an order when it ends.
    this.#exit.catch(() => {})
  }

  /** @param file name of the program in this folder; it ends with the cleanup */
  static start<Order extends object, Outcome> (cleanup: Cleanup, file: string): WorkerProcess<Order, Outcome> {
    const child = startChild(cleanup, `autocannon/${file}`, { stderr: 'pipe' })
    cleanup.after(() => { child.kill('SIGKILL') })
    return new WorkerProcess<Order, Outcome>(child, file)
  }

  get pid (): number { return this.#child.pid ?? 0 }

  /** @throws Error that the process told, or that it ended */
  async run (order: Order): Promise<Outcome> {
    const answer = new Promise<Outcome>((resolve, reject) => {
      this.#child.once('message', message => {
        const { outcome, error } = message as { readonly outcome?: Outcome, readonly error?: string }
        if (outcome === undefined) reject(new Error(`${this.#file}: ${error ?? 'no outcome'}`))
        else resolve(outcome)
      })
    })
    this.#child.send(order)
    return await Promise.race([answer, this.#exit])
  }
}
