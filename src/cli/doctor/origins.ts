import { performance } from 'node:perf_hooks'
import { request } from 'undici'
import { systemCode } from '../../base/errors.ts'
import type { Config } from '../../config/config.ts'
import { fail, ok, warn, type Diagnosis } from './diagnosis.ts'

/** What a super-node, or another relay, said. */
export interface OriginFacts {
  readonly url: string
  /** Status of its `/health`; undefined when there was no answer. */
  readonly status: number | undefined
  /** Code of the error that there was instead. */
  readonly error?: string
  /** From the question to the answer, ms. */
  readonly ms: number
  /** How far our clock is ahead of its `Date`, ms; undefined when it sent none. */
  readonly aheadMs: number | undefined
}

const TIMEOUT_MS = 5_000
/** Asked at the same time. */
const WIDTH = 16
/** `Date` counts seconds, and an answer takes its time. */
const CLOCK_GRAIN_MS = 1_500
/** Tickets, signed URLs and manifests have dates; a minute decides about some of them. */
const CLOCK_WRONG_MS = 60_000

async function askOrigin (url: string, now: () => number): Promise<OriginFacts> {
  const start = performance.now()
  try {
    const { statusCode, headers, body } = await request(new URL('/health', url), { signal: AbortSignal.timeout(TIMEOUT_MS), headersTimeout: TIMEOUT_MS })
    const ms = performance.now() - start
    await body.dump({ limit: 65_536 })
    const date = Date.parse(String(headers['date']))
    return { url, status: statusCode, ms, aheadMs: Number.isNaN(date) ? undefined : now() - ms / 2 - date }
  } catch (error) {
    return { url, status: undefined, error: systemCode(error) ?? (error instanceof Error ? error.name : String(error)), ms: performance.now() - start, aheadMs: undefined }
  }
}

/** Asks every super-node and sibling how it is. @param now milliseconds since the Unix epoch */
export async function originFacts ({ upstream }: Config, now: () => number): Promise<OriginFacts[]> {
  const urls = [...upstream.super_nodes, ...upstream.siblings].map(({ url }) => url)
  const facts: OriginFacts[] = []
  for (let first = 0; first < urls.length; first += WIDTH) facts.push(...await Promise.all(urls.slice(first, first + WIDTH).map(async url => await askOrigin(url, now))))
  return facts
}

const CURES: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'nobody listens there: correct the port, or start it',
  ENOTFOUND: 'the name is not known: correct it, or look at /etc/resolv.conf',
  EAI_AGAIN: 'no name server answers: look at /etc/resolv.conf',
  ETIMEDOUT: 'packets do not come back: look at firewalls on the way',
  TimeoutError: 'packets do not come back, or it hangs: look at firewalls on the way (curl -v)',
  UND_ERR_CONNECT_TIMEOUT: 'packets do not come back: look at firewalls on the way',
  CERT_HAS_EXPIRED: 'its certificate has ended: have it renewed',
  DEPTH_ZERO_SELF_SIGNED_CERT: 'its certificate is self-signed: set NODE_EXTRA_CA_CERTS, or have it get another',
  ERR_TLS_CERT_ALTNAME_INVALID: 'its certificate is for another name: use that name in the URL',
  UND_ERR_SOCKET: 'it closes the connection: is it HTTP behind an https URL, or the other way round?'
}

export function checkOrigins (facts: readonly OriginFacts[]): Diagnosis[] {
  const findings = facts.map(({ url, status, error = '', ms }): Diagnosis => {
    if (status === undefined) return fail('super-node', `${url} does not answer: ${error}`, CURES[error] ?? 'try it by hand: curl -v')
    if (status >= 500) return warn('super-node', `${url} says ${status}`, 'it is up and not well: ask its operator')
    return ok('super-node', `${url} answers ${status} in ${ms.toFixed(0)} ms`)
  })
  return [...findings, ...checkClock(facts)]
}

function checkClock (facts: readonly OriginFacts[]): Diagnosis[] {
  const ahead = facts.flatMap(({ aheadMs }) => aheadMs === undefined ? [] : [aheadMs]).toSorted((a, b) => a - b)
  // Of several clocks one may be wrong by itself.
  const median = ahead[ahead.length >> 1]
  if (median === undefined) return []
  const off = Math.abs(median)
  if (off <= CLOCK_GRAIN_MS) return [ok('clock', `agrees with ${ahead.length} of those that answered`)]
  const says = `${(off / 1_000).toFixed(0)} s ${median > 0 ? 'ahead of' : 'behind'} the super-nodes`
  return [(off > CLOCK_WRONG_MS ? fail : warn)('clock', says, 'set it by NTP (timedatectl set-ntp true, or chrony): tickets, signed URLs, manifests and certificates have dates')]
}
