import { open, rename, stat, type FileHandle } from 'node:fs/promises'
import { systemCode } from './errors.ts'

/** What is read of the file, from its end, bytes. */
const READ_BYTES = 8 * 1024 * 1024

/** A file of lines, readable by its owner only, beside which the one before it is kept as `<path>.1`. */
export class RotatedFile {
  readonly path: string
  readonly #maxBytes: number

  /** @param maxBytes from which on a new one is begun */
  constructor (path: string, maxBytes: number) {
    this.path = path
    this.#maxBytes = maxBytes
  }

  /** Its end, beginning with a whole line; empty when there is none. @throws what the disk says */
  async read (): Promise<string> {
    let file: FileHandle
    try {
      file = await open(this.path, 'r')
    } catch (error) {
      if (systemCode(error) === 'ENOENT') return ''
      throw error
    }
    try {
      const { size } = await file.stat()
      const start = Math.max(0, size - READ_BYTES)
      const { buffer, bytesRead } = await file.read({ buffer: Buffer.alloc(size - start), position: start })
      const text = buffer.toString('utf8', 0, bytesRead)
      return start === 0 ? text : text.slice(text.indexOf('\n') + 1)
    } finally {
      await file.close()
    }
  }

  /** Adds lines; they are on the disk when this resolves. A line that a crash has cut short is ended first. @throws what the disk says */
  async append (lines: string): Promise<void> {
    const full = await stat(this.path).then(found => found.isFile() && found.size >= this.#maxBytes, () => false)
    if (full) await rename(this.path, `${this.path}.1`)
    const file = await open(this.path, 'a+', 0o600)
    try {
      const { size } = await file.stat()
      const torn = size > 0 && (await file.read({ buffer: Buffer.alloc(1), position: size - 1 })).buffer.toString() !== '\n'
      await file.appendFile(torn ? `\n${lines}` : lines)
      await file.datasync()
    } finally {
      await file.close()
    }
  }
}
