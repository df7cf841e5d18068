import { randomBytes } from 'node:crypto'
import { chmod, link, lstat, open, readFile, unlink } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { RelayError, systemCode } from '../../base/errors.ts'
import type { Logger } from '../../base/log.ts'
import type { Config } from '../../config/config.ts'
import { systemFiles } from '../../storage/disk-files.ts'
import { makeDirectory } from '../../base/make-directory.ts'

/** In the cache directory, beside the keys of self-signed certificates. */
export const TOKEN_FILE = 'admin-token'
const TOKEN_BYTES = 32
const TOKEN = /^[A-Za-z0-9_-]{43}$/

/**
 * The configuration with an admin token of the relay's own, where none is configured and none is what was chosen
 * (`admin.loopback_without_token`). It is made at the first start and kept in a file that nobody else may read, which the log names.
 * @throws RelayError RELAY_ERR_CACHE_PATH when the file cannot be made or read, or is not ours
 */
export async function withOwnToken (config: Config, logger: Pick<Logger, 'info'>): Promise<Config> {
  if (config.admin.tokens.length > 0 || config.admin.loopback_without_token) return config
  const path = resolve(config.cache.path)
  const file = join(path, TOKEN_FILE)
  try {
    const token = await readToken(file) ?? await makeToken(path, file, logger)
    return { ...config, admin: { ...config.admin, tokens: [{ token, scope: 'write' }] } }
  } catch (error) {
    if (error instanceof RelayError) throw error
    throw new RelayError('RELAY_ERR_CACHE_PATH', `the admin token cannot be kept in ${file}: ${systemCode(error) ?? String(error)}; configure admin.tokens or admin.loopback_without_token`, { cause: error })
  }
}

/** The token that a relay with this configuration has made; undefined before its first start. @throws RelayError RELAY_ERR_CACHE_PATH */
export async function ownToken (config: Config): Promise<string | undefined> {
  return await readToken(join(resolve(config.cache.path), TOKEN_FILE))
}

async function readToken (file: string): Promise<string | undefined> {
  const stat = await lstat(file).catch((error: unknown) => {
    if (systemCode(error) === 'ENOENT') return undefined
    throw error
  })
  if (stat === undefined) return undefined
  // Whoever could have written it knows it.
  const mine = stat.isFile() && (process.getuid === undefined || stat.uid === process.getuid())
  const token = mine ? (await readFile(file, 'utf8')).trim() : ''
  if (!TOKEN.test(token)) throw new RelayError('RELAY_ERR_CACHE_PATH', `${file} holds no admin token that this relay has made; remove it`)
  if ((stat.mode & 0o077) !== 0) await chmod(file, 0o600)
  return token
}

async function makeToken (directory: string, file: string, logger: Pick<Logger, 'info'>): Promise<string> {
  await makeDirectory(systemFiles, directory)
  const token = randomBytes(TOKEN_BYTES).toString('base64url')
  const unfinished = `${file}.${randomBytes(8).toString('hex')}.tmp`
  try {
    const handle = await open(unfinished, 'wx', 0o600)
    try {
      await handle.writeFile(`${token}\n`)
      await handle.sync()
    } finally {
      await handle.close()
    }
    // Of two relays that start at the same time one has the directory, and both the same token.
    await link(unfinished, file)
  } catch (error) {
    if (systemCode(error) !== 'EEXIST') throw error
    const other = await readToken(file)
    if (other !== undefined) return other
    throw error
  } finally {
    await unlink(unfinished).catch(() => {})
  }
  logger.info({ file }, 'an admin token was made: send it as "authorization: Bearer <token>"')
  return token
}
