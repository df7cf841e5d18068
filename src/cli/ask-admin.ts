import type { AdminToken } from '../plugins/admin/access.ts'
import { RelayError } from '../base/errors.ts'
import type { Config } from '../config/config.ts'
import { ownToken } from '../plugins/admin/own-token.ts'

/** Time the relay has for an answer, ms. */
const ANSWER_MS = 10_000

/** Anything that answers as the admin listener does. With a body it is a POST. */
export type AskAdmin<Answer> = (path: string, body?: Record<string, unknown>, method?: 'DELETE') => Promise<Answer>

/** The admin listener of the configuration, as this host reaches it. */
function adminUrl ({ host, port }: Config['admin'], fail: (detail: string) => never): string {
  if (port === 0) fail('admin.port is 0, so where the relay listens is not known: say it with --admin')
  const reached = host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '::1' : host
  return `http://${reached.includes(':') ? `[${reached}]` : reached}:${port}`
}

/** A token that may write: of the configuration, or the one that the relay has made. @throws RelayError RELAY_ERR_CONFIG, RELAY_ERR_CACHE_PATH */
async function writeToken (config: Config, fail: (detail: string) => never): Promise<string | undefined> {
  const { tokens, loopback_without_token: none } = config.admin
  const token = tokens.find(({ scope, token }: Partial<AdminToken>) => scope === 'write' && token !== undefined)?.token
  if (token !== undefined || (tokens.length === 0 && none)) return token
  if (tokens.length > 0) fail('the configuration has no admin token with the write scope')
  return await ownToken(config) ?? fail('no admin token is configured, and the relay has not made one yet: it has never run with this cache.path')
}

/** The admin API of a running relay. */
interface AdminApi {
  readonly base: string
  readonly headers: Readonly<Record<string, string>>
  readonly fail: (detail: string, cause?: unknown) => never
}

/** @param command who asks, for errors */
async function adminApi (command: string, config: Config, admin: string | undefined): Promise<AdminApi> {
  const fail = (detail: string, cause?: unknown): never => { throw new RelayError('RELAY_ERR_CONFIG', `${command}: ${detail}`, { cause }) }
  const base = (admin ?? adminUrl(config.admin, fail)).replace(/\/$/, '')
  const token = await writeToken(config, fail)
  return { base, fail, headers: token === undefined ? {} : { authorization: `Bearer ${token}` } }
}

/**
 * The text of a stream of the admin API, as it comes.
 * @throws RelayError RELAY_ERR_CONFIG with what was wrong, also when the relay is gone
 */
export async function streamOfRunning (command: string, config: Config, admin: string | undefined, path: string): Promise<AsyncIterable<string>> {
  const { base, headers, fail } = await adminApi(command, config, admin)
  const response = await fetch(`${base}/admin/v1${path}`, { headers }).catch((error: unknown) => fail(`no relay answers at ${base}`, error))
  const { body } = response
  if (!response.ok || body === null) {
    const problem = await response.json().catch((error: unknown) => fail(`what answers at ${base} is no relay`, error)) as { readonly detail: string }
    return fail(`the relay answers ${response.status}: ${problem.detail}`)
  }
  return (async function * () {
    try {
      yield * body.pipeThrough(new TextDecoderStream())
    } catch (error) {
      fail('the relay is gone', error)
    }
  })()
}

/**
 * Asks the admin API of a running relay.
 * @param command who asks, for errors
 * @param admin where it is; as configured without it
 * @param answerMs time the relay has for an answer, ms
 * @throws RelayError RELAY_ERR_CONFIG with what was wrong
 */
export async function askRunning<Answer> (command: string, config: Config, admin: string | undefined, answerMs = ANSWER_MS): Promise<AskAdmin<Answer>> {
  const { base, headers, fail } = await adminApi(command, config, admin)
  return async (path, body, method) => {
    const response = await fetch(`${base}/admin/v1${path}`, {
      method: method ?? (body === undefined ? 'GET' : 'POST'),
      headers: { 'content-type': 'application/json', ...headers },
      signal: AbortSignal.timeout(answerMs),
      ...body === undefined ? {} : { body: JSON.stringify(body) }
    }).catch((error: unknown) => fail(`no relay answers at ${base}`, error))
    const answer = await response.json().catch((error: unknown) => fail(`what answers at ${base} is no relay`, error)) as Answer & { detail: string }
    if (!response.ok) fail(`the relay answers ${response.status}: ${answer.detail}`)
    return answer
  }
}

/** What the cache of the running relay of this configuration holds, bytes; undefined when none answers. */
export async function runningBytes ({ admin }: Config): Promise<number | undefined> {
  try {
    const response = await fetch(`${adminUrl(admin, detail => { throw new Error(detail) })}/health`, { signal: AbortSignal.timeout(ANSWER_MS) })
    const { cache_size_bytes: bytes } = await response.json() as { cache_size_bytes?: unknown }
    return response.ok && typeof bytes === 'number' ? bytes : undefined
  } catch {
    return undefined
  }
}
