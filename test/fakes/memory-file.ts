import { setImmediate as nextTurn } from 'node:timers/promises'
import type { OpenFile } from '../../src/storage/disk-files.ts'

/** A file that lies in memory, whose every operation takes turns of the event loop. */
export class MemoryFile implements OpenFile {
  readonly fd = -1
  readonly bytes: Buffer
  closed = 0
  /** Writes begun so far. */
  writes = 0
  /** What becomes of a write: a code fails it after half of its bytes, a number of bytes cuts it short. May wait first. */
  decide: (write: number) => string | number | undefined | Promise<string | number | undefined> = () => undefined
  /** Turns that an operation takes. */
  turns: () => number = () => 1

  constructor (size: number) {
    this.bytes = Buffer.alloc(size, 0xee)
  }

  async read (buffer: Buffer, offset: number, length: number, position: number): Promise<{ bytesRead: number }> {
    await this.#pass()
    return { bytesRead: this.bytes.copy(buffer, offset, position, position + length) }
  }

  async writev (chunks: Uint8Array[], position: number): Promise<{ bytesWritten: number }> {
    const fate = await this.decide(this.writes++)
    await this.#pass()
    const all = Buffer.concat(chunks)
    const taken = all.subarray(0, typeof fate === 'string' ? all.length / 2 : fate)
    taken.copy(this.bytes, position)
    if (typeof fate === 'string') throw Object.assign(new Error(`${fate}: injected`), { code: fate })
    return { bytesWritten: taken.length }
  }

  async datasync (): Promise<void> {}

  async close (): Promise<void> {
    this.closed++
  }

  async #pass (): Promise<void> {
    for (let left = this.turns(); left > 0; left--) await nextTurn()
    if (this.closed > 0) throw Object.assign(new Error('EBADF: the file is closed'), { code: 'EBADF' })
  }
}
