import { agoText, durationText, plural } from './format.ts'
import type { SummaryAnswer } from './wire.ts'

/** What an operator should know first. */
export interface Trouble {
  /** bad: viewers notice, or will; warn: somebody should look; note: it passes. */
  readonly level: 'bad' | 'warn' | 'note'
  readonly text: string
  /** What is known of it besides. */
  readonly detail?: string
  /** View with more of it. */
  readonly view?: string
}

const DAY_MS = 86_400_000
/** Ahead of the end of a configured certificate. */
const CERTIFICATE_WARN_MS = 14 * DAY_MS
const CERTIFICATE_BAD_MS = 3 * DAY_MS

const CACHE: Readonly<Record<string, Trouble>> = {
  loading: { level: 'note', text: 'The cache is being loaded', view: 'cache' },
  reconciling: { level: 'note', text: 'The cache compares its index with its directory, and serves meanwhile', view: 'cache' },
  hung: { level: 'bad', text: 'The disk of the cache does not answer: everything comes from super-nodes', view: 'cache' },
  full: { level: 'warn', text: 'The disk of the cache has no room: it keeps less than it may', view: 'cache' },
  failing: { level: 'bad', text: 'The disk of the cache does not store: objects pass through', view: 'cache' },
  index: { level: 'bad', text: 'The index of the cache cannot be written: a restart would not find what is stored now', view: 'cache' }
}

function ofReadiness ({ readiness: { ready, checks } }: SummaryAnswer): Trouble[] {
  const found: Trouble[] = []
  if (checks.viewer === 'draining') found.push({ level: 'warn', text: 'Draining: no new sessions are taken, and load balancers are told to go elsewhere', view: 'viewers' })
  else if (checks.viewer === 'closed') found.push({ level: 'bad', text: 'The viewer listeners are closed: the relay starts or stops' })
  else if (!ready && checks.overload !== 'shedding') found.push({ level: 'bad', text: 'Not ready' })
  const cache = CACHE[checks.cache]
  return cache === undefined ? found : [...found, cache]
}

function ofOverload ({ overload: { state, reason, since } }: SummaryAnswer, now: number): Trouble[] {
  if (state === 'normal') return []
  const detail = `${reason === 'override' ? 'set by an operator' : `by ${reason ?? 'an unknown signal'}`}, since ${agoText(since, now).replace(/ ago$/, '')}`
  return [state === 'shedding'
    ? { level: 'bad', text: 'Shedding: new sessions and misses are refused or sent elsewhere', detail, view: 'config' }
    : { level: 'warn', text: 'Degraded: work that no viewer waits for stands still', detail, view: 'config' }]
}

function ofNodes ({ superNodes }: SummaryAnswer): Trouble[] {
  const wrong = superNodes.filter(({ health }) => health === 'open' || health === 'ejected' || health === 'probing')
  const usable = superNodes.filter(({ state }) => state === 'up')
  if (superNodes.length === 0) return [{ level: 'bad', text: 'There is no super-node: only what is cached can be served', view: 'nodes' }]
  const found: Trouble[] = usable.length > 0 ? [] : [{ level: 'bad', text: `None of ${plural(superNodes.length, 'super-node')} is up: only what is cached is served for sure`, view: 'nodes' }]
  // A long list would hide the rest.
  return [...found, ...wrong.slice(0, 5).map(({ id, region, health, failures }): Trouble => ({
    level: 'warn',
    text: `Super-node ${id} (${region}) is ${health === 'open' ? 'open: it failed too often and is asked last' : health === 'ejected' ? 'ejected: it is much worse than the others' : 'probing: it is asked a little, to see whether it works again'}`,
    detail: failures > 0 ? `${plural(failures, 'failure')} since the last success` : '',
    view: 'nodes'
  })), ...wrong.length > 5 ? [{ level: 'warn' as const, text: `${plural(wrong.length - 5, 'more super-node is', 'more super-nodes are')} not up`, view: 'nodes' }] : []]
}

function ofGateway ({ gateway }: SummaryAnswer): Trouble[] {
  return gateway === null || gateway.up ? [] : [{ level: 'bad', text: 'The gateway does not listen: viewers have plain HTTP only', detail: plural(gateway.restarts, 'restart'), view: 'viewers' }]
}

function ofCertificate ({ certificate: { source, notAfter } }: SummaryAnswer, now: number): Trouble[] {
  const left = notAfter - now
  if (left <= 0) return [{ level: 'bad', text: 'The certificate of viewers has expired', detail: agoText(notAfter, now), view: 'config' }]
  // A self-signed one is renewed by the relay.
  if (source === 'self-signed' || left > CERTIFICATE_WARN_MS) return []
  return [{ level: left > CERTIFICATE_BAD_MS ? 'warn' : 'bad', text: `The certificate of viewers expires in ${durationText(left / 1_000)}`, view: 'config' }]
}

function ofConfig ({ config: { reload, restart } }: SummaryAnswer, now: number): Trouble[] {
  return [
    ...reload.success ? [] : [{ level: 'warn' as const, text: `The configuration was refused ${agoText(reload.at, now)}: the one of before is in force`, detail: reload.problem ?? '', view: 'config' }],
    ...restart === 0 ? [] : [{ level: 'note' as const, text: `${plural(restart, 'key has', 'keys have')} another value that a restart puts in force`, view: 'config' }]
  ]
}

const LEVELS = ['bad', 'warn', 'note'] as const

/** What is wrong, the worst first. @param now ms since the epoch */
export function troublesOf (summary: SummaryAnswer, now: number): Trouble[] {
  const found = [
    ...ofReadiness(summary),
    ...ofOverload(summary, now),
    ...ofGateway(summary),
    ...ofNodes(summary),
    ...ofCertificate(summary, now),
    ...ofConfig(summary, now),
    ...summary.denylist.problems.map((problem): Trouble => ({ level: 'warn', text: 'A denylist could not be read, or has bad lines', detail: problem, view: 'denylist' }))
  ]
  return found.sort((a, b) => LEVELS.indexOf(a.level) - LEVELS.indexOf(b.level))
}
