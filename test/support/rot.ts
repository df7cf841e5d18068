import { open, readdir } from 'node:fs/promises'
import { join } from 'node:path'

/** Flips a bit of a file, in place, as a disk would. */
export async function flipBit (file: string, position: number): Promise<void> {
  const handle = await open(file, 'r+')
  try {
    const byte = Buffer.alloc(1)
    await handle.read(byte, 0, 1, position)
    byte[0] = (byte[0] ?? 0) ^ 16
    await handle.write(byte, 0, 1, position)
  } finally {
    await handle.close()
  }
}

/** The file of an object below a cache directory, by the start of its name. */
export async function cachedFile (cachePath: string, name: string): Promise<string> {
  const root = join(cachePath, 'shards')
  const found = (await readdir(root, { recursive: true })).find(path => path.split('/').at(-1)?.startsWith(name) === true)
  if (found === undefined) throw new Error(`no file of ${name} below ${root}`)
  return join(root, found)
}
