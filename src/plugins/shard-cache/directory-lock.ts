import { randomBytes } from 'node:crypto'
import { lstatSync, mkdirSync, rmdirSync, unlinkSync } from 'node:fs'
import { chmod, link, lstat, open, unlink } from 'node:fs/promises'
import { connect, createServer, type Server } from 'node:net'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { RelayError, systemCode } from '../../base/errors.ts'

export interface DirectoryLock {
  /** Inode of `lock`; another one, or none, in its place means that somebody has removed it. */
  readonly ino: number
  /**
   * Takes the lock again where it was removed; false when another process has it meanwhile.
   * @throws RelayError RELAY_ERR_CACHE_PATH when the file system does not let it
   */
  renew (): Promise<boolean>
  close (): void
}

/** Who listens for whoever knocks, and where. */
interface Holder {
  readonly ino: number
  readonly server: Server
}

export const LOCK_NAME = 'lock'
const TAKING = 'lock.taking'
/** Taking over is four system calls in one turn; a directory of this age, ms, is left from a process that was killed between them. */
const TAKING_MAX_AGE_MS = 10_000
const RETRY_MS = 20
/** Longer than a left-over {@link TAKING} stands in the way. */
const ATTEMPTS = 600

/**
 * One relay per directory: `lock` in it is a Unix socket, and whoever listens on it holds the lock. The kernel closes it when the process dies, however it
 * dies; it is found by its inode, so containers that share the volume see it too, and only who may write the directory can be in the way.
 * @throws RelayError RELAY_ERR_CACHE_PATH when another process holds it, or the file system has no sockets
 */
export async function lockDirectory (path: string): Promise<DirectoryLock> {
  const first = await take(path)
  if (first === undefined) throw inUse(path)
  let holder = first
  return {
    get ino () { return holder.ino },
    renew: async () => {
      const next = await take(path)
      if (next === undefined) return false
      holder.server.close()
      holder = next
      return true
    },
    close: () => {
      if (lstatSync(join(path, LOCK_NAME), { throwIfNoEntry: false })?.ino === holder.ino) unlinkSync(join(path, LOCK_NAME))
      holder.server.close()
    }
  }
}

/** @param path of the cache */
export function inUse (path: string): RelayError {
  return new RelayError('RELAY_ERR_CACHE_PATH', `cache.path ${path} is in use by another relay process`)
}

/** Undefined when somebody has it. */
async function take (path: string): Promise<Holder | undefined> {
  // The address of a socket holds about a hundred characters; a descriptor of the directory makes any path short enough.
  const directory = await open(path, 'r')
  const base = process.platform === 'linux' ? `/proc/self/fd/${directory.fd}` : path
  const own = `${LOCK_NAME}.${randomBytes(6).toString('hex')}`
  let server: Server | undefined
  try {
    server = await listen(join(base, own))
    await chmod(join(path, own), 0o600)
    const { ino } = await lstat(join(path, own))
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const code = await link(join(path, own), join(path, LOCK_NAME)).then(() => undefined, systemCode)
      if (code === undefined) return { ino, server }
      if (code !== 'EEXIST') throw new RelayError('RELAY_ERR_CACHE_PATH', `cache.path ${path} cannot be locked: ${code}`)
      const found = await lstat(join(path, LOCK_NAME)).catch(() => undefined)
      const answer = found === undefined ? 'ENOENT' : await knock(join(base, LOCK_NAME))
      if (found === undefined || answer === 'ENOENT') continue
      if (answer !== 'ECONNREFUSED') {
        server.close()
        return undefined
      }
      if (!removeStale(path, found)) await delay(RETRY_MS)
    }
    throw new RelayError('RELAY_ERR_CACHE_PATH', `cache.path ${path} cannot be locked: others try as well`)
  } catch (error) {
    server?.close()
    throw error instanceof RelayError ? error : new RelayError('RELAY_ERR_CACHE_PATH', `cache.path ${path} cannot be locked: ${systemCode(error) ?? String(error)}`, { cause: error })
  } finally {
    await unlink(join(path, own)).catch(() => {})
    await directory.close()
  }
}

async function listen (address: string): Promise<Server> {
  const server = createServer(socket => socket.destroy()).unref()
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(address, resolve)
  })
  return server
}

/** What connecting says: undefined when somebody listens. */
async function knock (address: string): Promise<string | undefined> {
  return await new Promise(resolve => {
    const socket = connect(address, () => {
      socket.destroy()
      resolve(undefined)
    }).once('error', error => { resolve(systemCode(error) ?? 'UNKNOWN') })
  })
}

/** Removes a socket nobody listens on, if it is still that one: of several who found it dead, one must not remove what the next has put there. */
function removeStale (path: string, found: { readonly ino: number, readonly ctimeMs: number }): boolean {
  const taking = join(path, TAKING)
  try {
    mkdirSync(taking, 0o700)
  } catch (error) {
    if (systemCode(error) !== 'EEXIST') throw error
    const since = lstatSync(taking, { throwIfNoEntry: false })
    if (since !== undefined && Math.abs(Date.now() - since.mtimeMs) > TAKING_MAX_AGE_MS) rmdirSync(taking)
    return false
  }
  try {
    const now = lstatSync(join(path, LOCK_NAME), { throwIfNoEntry: false })
    if (now?.ino === found.ino && now.ctimeMs === found.ctimeMs) unlinkSync(join(path, LOCK_NAME))
    return true
  } finally {
    rmdirSync(taking)
  }
}
