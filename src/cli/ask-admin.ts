import type { AdminScope } from '../plugins/admin/access.ts'
import { RelayError } from '../base/errors.ts'
import type { Config } from '../config/config.ts'
import { ownToken } from '../plugins/admin/own-token.ts'

/** Time the relay has for an answer, ms. */
const ANSWER_MS = 10_000

/** The exit code then, as `systemctl status` has it. */
export const EXIT_NO_RELAY = 3

/** Nobody answers where a relay should. */
export class NoRelayError extends RelayError {
  constructor (detail: string, cause: unknown) { super('RELAY_ERR_CONFIG', detail, { cause }) }
}

/** Anything that answers as the admin listener does. With a body it is a POST. */
export type AskAdmin<Answer> = (path: string, body?: Record<string, unknown>, method?: 'DELETE') => Promise<Answer>

/** The admin listener of the configuration, as this host reaches it. */
function adminUrl ({ host, port }: Config['admin'], fail: (detail: string) => never): string {
  if (port === 0) fail('admin.port is 0, so where the relay listens is not known: say it with --admin')
  const reached = host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '::1' : host
  return `http://${reached.includes(':') ? `[${reached}]` : reached}:${port}`
}

/** A token that may do it: of the configuration, or the one that the relay has made. @throws RelayError RELAY_ERR_CONFIG, RELAY_ERR_CACHE_PATH */
async function tokenFor (scope: AdminScope, config: Config, fail: (detail: string) => never): Promise<string | undefined> {
  const { tokens, loopback_without_token: none } = config.admin
  const may = (of: AdminScope): string | undefined => tokens.find(({ scope, token, cid_prefixes: prefixes }) => scope === of && token !== undefined && prefixes === undefined)?.token
  const token = may(scope) ?? may('write')
  if (token !== undefined || (tokens.length === 0 && none)) return token
  if (tokens.length > 0) fail(`the configuration has no admin token with the ${scope} scope`)
  return await ownToken(config) ?? fail('no admin token is configured, and the relay has not made one yet: it has never run with this cache.path')
}

/** The admin API of a running relay. */
interface AdminApi {
  readonly base: string
  readonly headers: Readonly<Record<string, string>>
  readonly fail: (detail: string, cause?: unknown) => never
  readonly none: (cause: unknown) => never
}

/** @param command who asks, for errors */
async function adminApi (command: string, config: Config, admin: string | undefined, scope: AdminScope): Promise<AdminApi> {
  const fail = (detail: string, cause?: unknown): never => { throw new RelayError('RELAY_ERR_CONFIG', `${command}: ${detail}`, { cause }) }
  const base = (admin ?? adminUrl(config.admin, fail)).replace(/\/$/, '')
  const token = await tokenFor(scope, config, fail)
  const none = (cause: unknown): never => { throw new NoRelayError(`${command}: no relay answers at ${base}`, cause) }
  return { base, fail, none, headers: token === undefined ? {} : { authorization: `Bearer ${token}` } }
}

/**
 * The text of a stream of the admin API, as it comes.
 * @param signal ends it
 * @throws RelayError RELAY_ERR_CONFIG with what was wrong, also when the relay is gone
 */
export async function streamOfRunning (command: string, config: Config, admin: string | undefined, path: string, signal?: AbortSignal): Promise<AsyncIterable<string>> {
  const { base, headers, fail, none } = await adminApi(command, config, admin, 'read')
  const response = await fetch(`${base}/admin/v1${path}`, { headers, ...signal === undefined ? {} : { signal } }).catch(none)
  const { body } = response
  if (!response.ok || body === null) {
    const problem = await response.json().catch((error: unknown) => fail(`what answers at ${base} is no relay`, error)) as { readonly detail: string }
    return fail(`the relay answers ${response.status}: ${problem.detail}`)
  }
  return (async function * () {
    try {
      yield * body.pipeThrough(new TextDecoderStream())
    } catch (error) {
      if (signal?.aborted !== true) fail('the relay is gone', error)
    }
  })()
}

export interface AskOptions {
  /** Time the relay has for an answer, ms. */
  readonly answerMs?: number
  /** What the token must be good for. */
  readonly scope?: AdminScope
}

/**
 * Asks the admin API of a running relay.
 * @param command who asks, for errors
 * @param admin where it is; as configured without it
 * @throws RelayError RELAY_ERR_CONFIG with what was wrong
 */
export async function askRunning<Answer> (command: string, config: Config, admin: string | undefined, { answerMs = ANSWER_MS, scope = 'write' }: AskOptions = {}): Promise<AskAdmin<Answer>> {
  const { base, headers, fail, none } = await adminApi(command, config, admin, scope)
  return async (path, body, method) => {
    const response = await fetch(`${base}/admin/v1${path}`, {
      method: method ?? (body === undefined ? 'GET' : 'POST'),
      headers: { 'content-type': 'application/json', ...headers },
      signal: AbortSignal.timeout(answerMs),
      ...body === undefined ? {} : { body: JSON.stringify(body) }
    }).catch(none)
    const answer = await response.json().catch((error: unknown) => fail(`what answers at ${base} is no relay`, error)) as Answer & { detail: string }
    if (!response.ok) fail(`the relay answers ${response.status}: ${answer.detail}`)
    return answer
  }
}

/** What a running relay says to anybody: `/health`, `/ready` and `/metrics`. */
export type ReadPublic = (path: string) => Promise<{ readonly status: number, readonly text: string }>

/** Pages of the admin listener that need no token. @throws RelayError RELAY_ERR_CONFIG */
export function publicOfRunning (command: string, config: Config, admin: string | undefined): ReadPublic {
  const fail = (detail: string): never => { throw new RelayError('RELAY_ERR_CONFIG', `${command}: ${detail}`) }
  const base = (admin ?? adminUrl(config.admin, fail)).replace(/\/$/, '')
  return async path => {
    const none = (error: unknown): never => { throw new NoRelayError(`${command}: no relay answers at ${base}`, error) }
    const response = await fetch(`${base}${path}`, { signal: AbortSignal.timeout(ANSWER_MS) }).catch(none)
    return { status: response.status, text: await response.text().catch(none) }
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
