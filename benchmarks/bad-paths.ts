/**
 * What viewers get over bad paths: our client as a whole, each of its transports, plain HTTP beside them, and another version of ours.
 *   node --import tsx benchmarks/bad-paths.ts [--runs=3] [--only=<path>,…] [--contenders=<name>,…] [--old <directory>]
 * `--old` names a built checkout of a version before the quinn engine. Linux, root; relay and viewers are in network namespaces of their own, and the network of
 * the machine is not touched.
 */
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { cpus, loadavg } from 'node:os'
import { resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { startSuperNode, syntheticShard } from '../demo/super-node/server.ts'
import { connect, dialHttp3 } from '../client/src/node.ts'
import { transportConnector } from '../client/src/transport-session.ts'
import { withCleanup, type Cleanup } from '../tools/harness/cleanup.ts'
import { sha256 } from '../tools/harness/http.ts'
import { NEVER_OVERLOADED, PATIENT_UPSTREAM } from '../tools/harness/limits.ts'
import { median } from '../tools/harness/median.ts'
import { spawnRelay, type SpawnedRelay } from '../tools/harness/processes.ts'
import { transportOffer } from '../tools/harness/transport-offer.ts'
import { startProxy } from '../tools/harness/udp-proxy.ts'
import type { FetchOrder, Fetched } from './bad-path-viewer.ts'
import { startChild } from '../tools/harness/child.ts'
import { ManagedProcess } from '../tools/harness/managed-process.ts'
import { MB, line } from './contender.ts'

const option = (name: string): string | undefined => process.argv.find(argument => argument.startsWith(`--${name}=`))?.slice(name.length + 3)
const RUNS = Number(option('runs') ?? 3)
const OLD = process.argv.includes('--old') ? resolve(process.argv[process.argv.indexOf('--old') + 1] ?? '.') : undefined
const TIMEOUT_MS = 60_000
const RATE_MBIT = 100
const RELAY_ADDRESS = '10.98.0.1'

interface Path { readonly name: string, readonly label: string, readonly args: readonly string[], readonly loads?: readonly Load[] }
interface Load { readonly label: string, readonly cid: string, readonly digests: readonly string[] }
const load = (label: string, bytes: number, count: number): Load => {
  const cid = `syn-${bytes}-path`
  return { label, cid, digests: Array.from({ length: count }, (_, part) => sha256(syntheticShard(cid, part))) }
}
const LOADS = [load('8 × 1 MB', MB, 8), load('1 × 8 MB', 8 * MB, 1)]

/** Delay is one way. */
const PATHS: readonly Path[] = [
  { name: 'mtu', label: '1,280 bytes', args: ['--max-udp', '1280'] },
  { name: '30ms', label: '30 ms, 1 %', args: ['--delay', '15', '--loss', '0.01'] },
  { name: '60ms', label: '60 ms, 2 %', args: ['--delay', '30', '--loss', '0.02'] },
  { name: '300ms', label: '300 ms, 2 %', args: ['--delay', '150', '--loss', '0.02'] },
  // What windows allow.
  { name: 'clean', label: '60 ms, no loss', args: ['--delay', '30'], loads: [load('1 × 16 MB', 16 * MB, 1)] }
]

type Congestion = 'cubic' | 'bbr'
interface Contender { readonly name: string, readonly congestion: Congestion, readonly transport: FetchOrder['transport'], readonly old?: true }
const CONTENDERS: readonly Contender[] = [
  { name: 'client', congestion: 'cubic', transport: 'client' },
  { name: 'webtransport', congestion: 'cubic', transport: 'webtransport' },
  { name: 'websocket', congestion: 'cubic', transport: 'websocket' },
  { name: 'http', congestion: 'cubic', transport: 'plain' },
  { name: 'client, bbr', congestion: 'bbr', transport: 'client' },
  { name: 'websocket, bbr', congestion: 'bbr', transport: 'websocket' },
  { name: 'http, bbr', congestion: 'bbr', transport: 'plain' },
  { name: 'old', congestion: 'cubic', transport: 'client', old: true }
]

const run = (command: string, ...args: string[]): string => execFileSync(command, args, { encoding: 'utf8' })

/** @param beside a process in whose namespace it is to be; in one of its own otherwise */
async function startViewer (cleanup: Cleanup, root?: string, beside?: number): Promise<ManagedProcess> {
  const viewer = startChild(cleanup, 'benchmarks/bad-path-viewer.ts', { args: root === undefined ? [] : [root], through: beside === undefined ? ['unshare', '--net'] : ['nsenter', `--net=/proc/${beside}/ns/net`] })
  await viewer.answer()
  return viewer
}

async function startRelay (cleanup: Cleanup, origin: { url: string, region: string }, root?: string): Promise<SpawnedRelay> {
  // Keys that it does not know, and the name of its engine.
  const older = root === undefined ? {} : { transport: { engine: 'bundled', max_sessions_per_ip: 10_000 }, limits: { responses_per_ip: undefined }, admin: { loopback_without_token: undefined } }
  const relay = await spawnRelay(cleanup, [origin], { transport: { max_sessions_per_ip: 10_000 }, overload: NEVER_OVERLOADED, upstream: PATIENT_UPSTREAM, ...older, viewer: { host: '0.0.0.0' } },
    undefined, root === undefined ? {} : { program: `${root}/dist/server.js` })
  // What is measured are hits: every object is fetched once before.
  for (const { cid, digests } of [...LOADS, ...PATHS.flatMap(({ loads = [] }) => loads)]) for (const part of digests.keys()) await (await fetch(`${relay.viewerUrl}/shards/${cid}/shard_${part}.bin`)).arrayBuffer()
  return relay
}

/** Makes the path; the returned function ends it and says what was dropped. */
async function lay ({ args }: Path, congestion: Congestion, viewer: number, seed: number): Promise<() => Promise<string>> {
  const path = ManagedProcess.start(['python3', fileURLToPath(new URL('./bad-path.py', import.meta.url)), '--pid', String(viewer), '--rate', String(RATE_MBIT), '--seed', String(seed), ...args])
  await path.waitFor(({ event }) => event === 'up')
  // By the route: the kernel refuses the setting of the namespace for what the machine does not allow everybody.
  run('ip', 'route', 'replace', RELAY_ADDRESS.replace(/1$/, '0/24'), 'dev', 'bp-here', 'proto', 'kernel', 'scope', 'link', 'src', RELAY_ADDRESS, 'congctl', congestion)
  return async () => {
    await path.stop()
    return JSON.stringify(path.events.at(-1))
  }
}

const seconds = (ms: number): string => Number.isFinite(ms) ? (ms / 1_000).toFixed(ms < 10_000 ? 2 : 1) : `over ${TIMEOUT_MS / 1_000}`
const ratio = (ms: number | undefined, to: number | undefined): string => ms === undefined || to === undefined || !Number.isFinite(to) ? '' : Number.isFinite(ms) ? `${(ms / to).toFixed(2)}×` : `over ${(TIMEOUT_MS / to).toFixed(1)}×`

/** Medians, milliseconds; infinite for what did not come in time. */
function report (rows: readonly { readonly label: string, readonly medians: ReadonlyMap<string, number> }[], contenders: readonly Contender[]): void {
  const names = contenders.flatMap(({ name, transport, old }) => transport === 'client' && old === undefined ? [name, `${name}, again`] : [name])
  line('path, 100 Mbit/s', ...names, 'client over best transport', 'again', 'bbr', 'bbr, again', 'client over old', 'bbr')
  line(...Array.from({ length: names.length + 7 }, () => '---'))
  for (const { label, medians } of rows) {
    const best = (...names: string[]): number => Math.min(...names.flatMap(name => medians.get(name) ?? []))
    const [plain, bbr, old] = [medians.get('client'), medians.get('client, bbr'), medians.get('old')]
    const [transport, bbrTransport] = [best('webtransport', 'websocket', 'http'), best('webtransport', 'websocket, bbr', 'http, bbr')]
    line(label, ...names.map(name => seconds(medians.get(name) ?? Number.NaN)), ratio(plain, transport), ratio(medians.get('client, again'), transport), ratio(bbr, bbrTransport), ratio(medians.get('client, bbr, again'), bbrTransport), ratio(plain, old), ratio(bbr, old))
  }
}

/** An 8 MB shard whose viewer gets another port in the middle, as after a NAT has forgotten it. */
async function rebinding (relay: SpawnedRelay, { cid, digests }: Load): Promise<void> {
  const port = Number(new URL((await transportOffer(relay.viewerUrl)).webtransport.url).port)
  const proxy = await startProxy(port, { delayMs: 15, bitsPerSecond: RATE_MBIT * 1e6 })
  const connector = transportConnector(dialHttp3)
  const infos: string[] = []
  const client = await connect(relay.viewerUrl, {
    transports: ['webtransport'],
    onTransport: ({ transport }) => { infos.push(transport) },
    webTransport: async endpoint => {
      const url = new URL(endpoint.url)
      url.port = String(proxy.port)
      return await connector({ ...endpoint, url: url.href })
    }
  })
  try {
    let [reboundAt, lastAt, pauseMs, bytesThen] = [0, 0, 0, 0]
    const started = performance.now()
    const { bytes, attempts } = await client.fetchShard(cid, 0, {
      signal: AbortSignal.timeout(TIMEOUT_MS),
      onProgress: ({ receivedBytes, totalBytes }) => {
        const now = performance.now()
        if (reboundAt > 0) pauseMs = Math.max(pauseMs, now - lastAt)
        lastAt = now
        if (reboundAt > 0 || receivedBytes * 2 < totalBytes) return
        [reboundAt, bytesThen] = [now, receivedBytes]
        proxy.rebind().catch(() => {})
      }
    })
    const right = sha256(bytes) === digests[0]
    line(seconds(performance.now() - started), (bytesThen / MB).toFixed(1), pauseMs.toFixed(0), attempts === 1 && infos.length === 1 ? 'yes' : `no: ${attempts} attempts, ${infos.length} connections`, right ? 'yes' : '**no**')
  } finally {
    client.close()
    proxy.close()
  }
}

async function main (cleanup: Cleanup): Promise<void> {
  run('ip', 'link', 'set', 'lo', 'up')
  // What the kernel has learnt of one connection must not help or hurt the next.
  run('sysctl', '-qw', 'net.ipv4.tcp_no_metrics_save=1')
  const available = (await readFile('/proc/sys/net/ipv4/tcp_available_congestion_control', 'utf8')).trim().split(' ')
  const wanted = option('contenders')?.split(',')
  if (!available.includes('bbr')) process.stdout.write('This kernel has no BBR: left out.\n\n')
  const contenders = CONTENDERS.filter(({ name, congestion, old }) => available.includes(congestion) && (old === undefined || OLD !== undefined) && (wanted?.includes(name.replace(', ', '-')) ?? true))
  const only = option('only')?.split(',')
  const origin = await startSuperNode({ port: 0 })
  cleanup.after(async () => { await origin.close() })
  const relay = await startRelay(cleanup, origin)
  const oldRelay = OLD === undefined ? undefined : await startRelay(cleanup, origin, OLD)
  const viewer = await startViewer(cleanup)
  const oldViewer = OLD === undefined ? undefined : await startViewer(cleanup, OLD, viewer.pid)
  const before = loadavg()[0] ?? 0
  const rows: { label: string, medians: Map<string, number> }[] = []
  for (const path of PATHS.filter(({ name }) => only?.includes(name) ?? true)) {
    for (const { label, cid, digests } of path.loads ?? LOADS) {
      const results = new Map<string, number[]>()
      for (let turn = 0; turn < RUNS; turn++) {
        for (const { name, congestion, transport, old } of contenders) {
          const [at, by] = old === undefined ? [relay, viewer] : [oldRelay, oldViewer]
          if (at === undefined || by === undefined) continue
          const end = await lay(path, congestion, viewer.pid, turn)
          const { connectMs, fetchMs, againMs, remark } = await by.ask<Fetched>({ url: at.viewerUrl.replace('127.0.0.1', RELAY_ADDRESS), transport, cid, digests, timeoutMs: TIMEOUT_MS, again: transport === 'client' && old === undefined } satisfies FetchOrder)
          process.stderr.write(`${path.label}, ${label}, ${name}: connected in ${connectMs.toFixed(0)} ms, ${seconds(fetchMs ?? Infinity)} s${againMs === undefined ? '' : `, then ${seconds(againMs)} s`}; ${remark}; ${await end()}\n`)
          results.set(name, [...results.get(name) ?? [], fetchMs ?? Infinity])
          if (transport === 'client' && old === undefined) results.set(`${name}, again`, [...results.get(`${name}, again`) ?? [], againMs ?? Infinity])
        }
      }
      rows.push({ label: `${path.label}: ${label}`, medians: new Map(Array.from(results, ([name, times]) => [name, median(times)])) })
    }
  }
  process.stdout.write(`${cpus().length} cores (${cpus()[0]?.model ?? '?'}), Node ${process.version}, load ${before.toFixed(1)} before and ${(loadavg()[0] ?? 0).toFixed(1)} after, seconds from the request to the last byte, medians of ${RUNS}\n\n`)
  report(rows, contenders)
  const [, large] = LOADS
  if (large === undefined || (only !== undefined && !only.includes('rebinding'))) return
  process.stdout.write('\nA new port in the middle of 8 MB, 30 ms:\n\n')
  line('seconds', 'after MB', 'longest pause, ms', 'the same stream went on', 'right bytes')
  line('---', '---', '---', '---', '---')
  for (let turn = 0; turn < RUNS; turn++) await rebinding(relay, large)
}

if (process.argv.includes('--inside')) {
  await withCleanup(main)
  process.exit(0)
}
const inside = spawn('unshare', ['--net', process.execPath, '--import', 'tsx', fileURLToPath(import.meta.url), '--inside', ...process.argv.slice(2)], { stdio: 'inherit' })
const [code] = await once(inside, 'exit') as [number | null]
process.exitCode = code ?? 1
