/**
 * A cache directory that changes between this version and an earlier one, both ways: `node --import tsx benchmarks/upgrade.ts --old <directory>`, a built
 * checkout of the earlier version. Each relay finds what the one before has left, and fills some more. Ends with 1 when a hit was lost that
 * was written before the end, when a body was wrong, or when what operators changed or browsers pinned was forgotten.
 */
import { existsSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { startSuperNode, syntheticShard } from '../demo/super-node/server.ts'
import { withCleanup, type Cleanup } from '../tools/harness/cleanup.ts'
import { sha256 } from '../tools/harness/http.ts'
import { NEVER_OVERLOADED, PATIENT_UPSTREAM } from '../tools/harness/limits.ts'
import { SERVER, spawnRelay } from '../tools/harness/processes.ts'
import { temporaryDirectory } from '../tools/harness/temporary-directory.ts'
import { transportOffer } from '../tools/harness/transport-offer.ts'
import { line } from './contender.ts'

const { values } = parseArgs({ options: { old: { type: 'string' }, objects: { type: 'string', default: '200' } } })
if (values.old === undefined) throw new Error('--old <directory> names a built checkout of an earlier version')
const OLD = resolve(values.old)
const FIRST = Number(values.objects)
/** Filled by every later relay. */
const MORE = Math.ceil(FIRST / 4)
const PARTS = 14
const OBJECT_BYTES = 100_000
/** As configured: what is older than this is in the index, however the process ends. */
const FLUSH_MS = 200
const WARNING = 40

interface Version {
  readonly name: string
  readonly program: string
  /** What differs in the configuration. */
  readonly settings: Record<string, Record<string, unknown>>
}

/** Keys of before there was `start.cjs` are not those of today. */
const OLDER = existsSync(join(OLD, 'dist/start.cjs'))
  ? { program: join(OLD, 'dist/start.cjs'), settings: {} }
  : { program: join(OLD, 'dist/server.js'), settings: { admin: { loopback_without_token: undefined }, limits: { responses_per_ip: undefined } } }
const VERSIONS: readonly Version[] = [{ name: 'old', ...OLDER }, { name: 'new', program: SERVER, settings: {} }]
const STEPS = ['old', 'new', 'old', 'new', 'new', 'old', 'old']

const path = (n: number): string => `/shards/syn-${OBJECT_BYTES}-upgrade${Math.floor(n / PARTS)}/shard_${n % PARTS}.bin`
const digest = (n: number): string => sha256(syntheticShard(`syn-${OBJECT_BYTES}-upgrade${Math.floor(n / PARTS)}`, n % PARTS))

interface Fetched { readonly hits: number, readonly wrong: number }

async function fetchObjects (viewerUrl: string, from: number, to: number): Promise<Fetched> {
  const result = { hits: 0, wrong: 0 }
  for (let n = from; n < to; n++) {
    const response = await fetch(`${viewerUrl}${path(n)}`)
    if (response.headers.get('cache-status')?.includes('hit') === true) result.hits++
    if (sha256(new Uint8Array(await response.arrayBuffer())) !== digest(n)) result.wrong++
  }
  return result
}

/** Super-nodes by origin, each with whether operators have changed its state. */
async function nodes (adminUrl: string): Promise<string> {
  const { nodes } = await (await fetch(`${adminUrl}/admin/v1/upstreams`)).json() as { nodes: { id: string, state: string }[] }
  return nodes.map(({ id, state }) => ['draining', 'drained', 'disabled'].includes(state) ? `${id} ${state.slice(0, 5)}` : id).toSorted().join(', ')
}

/** A super-node more, the first time, and another state for it. */
async function changeNodes (adminUrl: string, step: number): Promise<void> {
  const ask = async (method: string, path: string, body: object): Promise<void> => {
    const { ok, status } = await fetch(`${adminUrl}/admin/v1/upstreams${path}`, { method, headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) })
    if (!ok) throw new Error(`super-nodes cannot be changed: ${status}`)
  }
  if (step === 0) await ask('POST', '', { url: 'http://127.0.0.1:9', region: 'APAC' })
  await ask('PATCH', '/127.0.0.1:9', { state: step % 2 === 0 ? 'disabled' : 'draining' })
}

async function journey (cleanup: Cleanup, origin: { url: string, region: string }, end: 'SIGTERM' | 'SIGKILL'): Promise<number> {
  const cachePath = join(await temporaryDirectory(cleanup), 'cache')
  let objects = 0
  let kept: { readonly nodes: string, readonly pin: string } | undefined
  let faults = 0
  let before = 'nothing'
  for (const [step, name] of STEPS.entries()) {
    const version = VERSIONS.find(other => other.name === name)
    if (version === undefined) throw new Error(name)
    const relay = await spawnRelay(cleanup, [origin], {
      cache: { flush_interval_ms: FLUSH_MS, ...version.settings['cache'] },
      admin: version.settings['admin'] ?? {},
      limits: version.settings['limits'] ?? {},
      overload: NEVER_OVERLOADED,
      upstream: PATIENT_UPSTREAM
    }, cachePath, { program: version.program })
    const { hits, wrong } = await fetchObjects(relay.viewerUrl, 0, objects)
    const filled = await fetchObjects(relay.viewerUrl, objects, objects + (objects === 0 ? FIRST : MORE))
    const now = { nodes: await nodes(relay.adminUrl), pin: (await transportOffer(relay.viewerUrl)).webtransport.certificateHashes[0]?.value ?? '' }
    const same = kept === undefined || (kept.nodes === now.nodes && kept.pin === now.pin)
    const warnings = relay.events.filter(event => Number(event['level']) >= WARNING && typeof event['msg'] === 'string').map(event => String(event['msg']))
    line(end, `${before} → ${name}`, objects, hits, wrong + filled.wrong, kept === undefined ? '' : kept.nodes === now.nodes ? 'kept' : `${kept.nodes} became ${now.nodes}`, kept === undefined ? '' : kept.pin === now.pin ? 'kept' : 'another', [...new Set(warnings)].join('; ') || 'none')
    if (hits < objects || wrong + filled.wrong + filled.hits > 0 || !same) faults++
    await changeNodes(relay.adminUrl, step)
    kept = { ...now, nodes: await nodes(relay.adminUrl) }
    objects += objects === 0 ? FIRST : MORE
    before = name
    await delay(2 * FLUSH_MS)
    relay.child.kill(end)
    const { code, signal } = await relay.exit
    if (end === 'SIGTERM' ? code !== 0 : signal !== 'SIGKILL') {
      process.stdout.write(`${name} ended with ${code ?? signal ?? ''}: ${relay.stderr()}\n`)
      faults++
    }
  }
  return faults
}

await withCleanup(async cleanup => {
  const origin = await startSuperNode({ port: 0 })
  cleanup.after(async () => { await origin.close() })
  line('ended by', 'from → to', 'objects there were', 'hits', 'wrong bodies', 'super-nodes', 'pinned certificate', 'warnings of the log')
  line('---', '---', '---', '---', '---', '---', '---', '---')
  let faults = 0
  for (const end of ['SIGTERM', 'SIGKILL'] as const) faults += await withCleanup(async run => await journey(run, origin, end))
  process.exitCode = faults > 0 ? 1 : 0
})
