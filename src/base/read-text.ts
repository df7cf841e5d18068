import { constants } from 'node:fs'
import { open } from 'node:fs/promises'
import { systemCode } from './errors.ts'

/** The text of a file, or what is wrong with it, to stand behind its name. */
export type FileText = { readonly text: string } | { readonly problem: string }

export function unreadable (error: unknown): { readonly problem: string } {
  return { problem: `cannot be read: ${systemCode(error) ?? String(error)}` }
}

export function tooLarge (maxBytes: number): { readonly problem: string } {
  return { problem: `is larger than ${maxBytes} bytes` }
}

/** Reads a file of at most `maxBytes`, and nothing that would have to be waited for: pipes and devices are none. Never rejects. @param encoding `latin1` for bytes, one a character */
export async function readText (file: string, maxBytes: number, encoding: 'utf8' | 'latin1' = 'utf8'): Promise<FileText> {
  try {
    const handle = await open(file, constants.O_RDONLY | constants.O_NONBLOCK)
    try {
      const stat = await handle.stat()
      if (!stat.isFile()) return { problem: stat.isDirectory() ? 'cannot be read: EISDIR' : 'is not a file' }
      const { bytesRead, buffer } = await handle.read({ buffer: Buffer.alloc(maxBytes + 1), position: 0 })
      return bytesRead > maxBytes ? tooLarge(maxBytes) : { text: buffer.toString(encoding, 0, bytesRead) }
    } finally {
      await handle.close()
    }
  } catch (error) {
    return unreadable(error)
  }
}
