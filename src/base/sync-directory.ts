import { open } from 'node:fs/promises'

/** Makes names that were given or taken in a directory outlast a power cut. Windows has no such call, and no need of one. */
export async function syncDirectory (path: string): Promise<void> {
  if (process.platform === 'win32') return
  const handle = await open(path, 'r')
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}
