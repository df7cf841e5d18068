import { mkdtemp, rmdir, stat } from 'node:fs/promises'
import { isIP } from 'node:net'
import { dirname, join, resolve } from 'node:path'
import { RelayError, systemCode } from '../base/errors.ts'
import { memoryLimit } from '../base/process-use.ts'
import type { Config } from '../config/config.ts'
import { listenersOf } from '../config/listeners.ts'
import { readAuth } from '../plugins/auth/auth-files.ts'
import { loadConfigured } from '../plugins/tls/certificate-files.ts'

/* What a start needs of this machine besides a valid configuration; `--validate` and the start itself ask for the same. */

/** Every address of a host; `::` takes IPv4 too. */
const ANY = new Set(['0.0.0.0', '::'])

const sameHost = (a: string, b: string): boolean => a === b || ANY.has(a) || ANY.has(b)

function isLoopbackHost (host: string): boolean {
  return host === 'localhost' || host === '::1' || (isIP(host) === 4 && host.startsWith('127.'))
}

/** Two listeners on one port. */
function portProblems (config: Config): string[] {
  const listeners = listenersOf(config)
  return listeners.flatMap((one, position) => listeners.slice(position + 1)
    .filter(other => one.port !== 0 && one.port === other.port && one.protocol === other.protocol && sameHost(one.host, other.host))
    .map(other => `${one.key} and ${other.key} must differ, both are ${one.port}`))
}

/** What a relay with this configuration would start with and not serve as meant. @param memoryBytes that the process may have */
export function startProblems (config: Config, memoryBytes: number): string[] {
  const { admin, auth, cache, tls, transport } = config
  const problems = portProblems(config)
  if ((tls.cert === '') !== (tls.key === '')) problems.push(`tls.${tls.cert === '' ? 'cert' : 'key'} must be set too: a certificate and its key belong together`)
  const { tokens, jwt, signed_urls: urls } = auth
  const keys = tokens.length + jwt.public_key_files.length + urls.keys.length + [jwt.hs256_secret, jwt.hs256_secret_file, jwt.jwks_file].filter(text => text !== '').length
  if (auth.require && keys === 0) problems.push('auth.require needs auth.tokens, auth.jwt or auth.signed_urls.keys, or every viewer would be refused')
  if (admin.tokens.length === 0 && !isLoopbackHost(admin.host)) problems.push(`admin.tokens must have a token while admin.host is ${admin.host}, which others can reach`)
  if (cache.ram_bytes > memoryBytes) problems.push(`cache.ram_bytes is more than the ${memoryBytes} bytes of memory there are`)
  if (transport.engine !== 'off' && transport.ram_bytes > memoryBytes) problems.push(`transport.ram_bytes is more than the ${memoryBytes} bytes of memory there are`)
  return problems
}

/** Tries to make something where the cache will be, and leaves nothing. @throws RelayError RELAY_ERR_CACHE_PATH */
async function checkCachePath (path: string): Promise<void> {
  let existing = resolve(path)
  try {
    while (await stat(existing).then(() => false, (error: unknown) => systemCode(error) === 'ENOENT' && dirname(existing) !== existing)) existing = dirname(existing)
    await rmdir(await mkdtemp(join(existing, '.icn-relay-check-')))
  } catch (error) {
    throw new RelayError('RELAY_ERR_CACHE_PATH', `cache.path ${resolve(path)} cannot be written: ${systemCode(error) ?? String(error)}`, { cause: error })
  }
}

/** What {@link startProblems} finds of this machine. @throws RelayError RELAY_ERR_CONFIG */
export function checkSettings (config: Config): void {
  const problems = startProblems(config, memoryLimit())
  if (problems.length > 0) throw new RelayError('RELAY_ERR_CONFIG', problems.join('\n'))
}

/** @throws RelayError RELAY_ERR_CONFIG, RELAY_ERR_CACHE_PATH */
export async function checkStart (config: Config): Promise<void> {
  checkSettings(config)
  if (config.tls.cert !== '') await loadConfigured(config.tls.cert, config.tls.key)
  await readAuth(config.auth)
  await checkCachePath(config.cache.path)
}
