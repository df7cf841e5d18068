import assert from 'node:assert/strict'
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { setPriority } from 'node:os'
import { test, type TestContext } from 'node:test'
import { request } from 'undici'
import { syntheticShard } from '../../demo/super-node/server.ts'
import { connect, type ShardClient, type TransportInfo } from '../../client/src/node.ts'
import type { ControlMessage } from '../../src/protocol/control-messages.ts'
import { cacheStats, fetchHashed, metric, sha256, until } from '../../tools/harness/http.ts'
import { PATIENT_UPSTREAM } from '../../tools/harness/limits.ts'
import { spawnRelay, spawnSuperNode, type SpawnedRelay } from '../../tools/harness/processes.ts'
import { assertProblem, type AnyResponse } from '../support/problem.ts'

const SIZE = 200_000
const CID = `syn-${SIZE}-drill`
const LIMIT = { timeout: 300_000 }
// On a machine that is busy a gateway may be silent for long; here it must not be replaced for it.
const TRANSPORT = { engine: 'quinn', hang_ms: 120_000 }

interface Report {
  readonly state: string
  readonly reason: string | null
  readonly transitions: readonly { readonly from: string, readonly to: string, readonly signal: string }[]
}

async function report ({ adminUrl }: SpawnedRelay): Promise<Report> {
  return await (await request(`${adminUrl}/admin/v1/overload`)).body.json() as Report
}

async function force ({ adminUrl }: SpawnedRelay, override: string): Promise<void> {
  const { statusCode } = await request(`${adminUrl}/admin/v1/overload`, { method: 'PUT', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ override }) })
  assert.equal(statusCode, 200)
}

const path = (part: number, cid = CID): string => `/shards/${cid}/shard_${part}.bin`
const digest = (part: number, cid = CID): string => sha256(syntheticShard(cid, part))

async function ask (url: string): Promise<AnyResponse> {
  const response = await request(url, { headersTimeout: 60_000, bodyTimeout: 60_000 })
  return { status: response.statusCode, headers: response.headers, body: Buffer.from(await response.body.arrayBuffer()) }
}

function assertShed (response: AnyResponse): void {
  assertProblem(response, 'RELAY_ERR_OVERLOADED')
  assert.match(String(response.headers['retry-after']), /^[3-8]$/)
}

interface Viewer {
  readonly client: ShardClient
  readonly transports: TransportInfo[]
  readonly messages: ControlMessage[]
}

async function view (t: TestContext, relay: SpawnedRelay, transport: 'webtransport' | 'websocket', others: readonly 'http'[] = []): Promise<Viewer> {
  const transports: TransportInfo[] = []
  const messages: ControlMessage[] = []
  const client = await connect(relay.viewerUrl, {
    transports: [transport, ...others],
    connectTimeoutMs: 60_000,
    stallMs: 60_000,
    onTransport: info => { transports.push(info) },
    onControl: message => { messages.push(message) }
  })
  t.after(() => { client.close() })
  return { client, transports, messages }
}

async function assertFetches ({ client }: Viewer, part: number): Promise<void> {
  const { bytes } = await client.fetchShard(CID, part)
  assert.equal(sha256(bytes), digest(part))
}

const changes = ({ events }: SpawnedRelay): string[] => events.filter(event => event['msg'] === 'overload state changed').map(({ from, to, signal }) => `${String(from)} ${String(to)} ${String(signal)}`)

test('drill: hits go on, misses are told when to come back, new viewers get their shards from another relay or a super-node', LIMIT, async t => {
  const origin = await spawnSuperNode(t, 'NA-WEST')
  const [other, plain] = await Promise.all([
    spawnRelay(t, [origin], { transport: TRANSPORT, upstream: PATIENT_UPSTREAM }),
    spawnRelay(t, [origin], { transport: TRANSPORT, upstream: PATIENT_UPSTREAM, overload: { redirect_to_super_nodes: true } })
  ])
  const relay = await spawnRelay(t, [origin], { transport: TRANSPORT, upstream: PATIENT_UPSTREAM, overload: { alternates: [other.viewerUrl] } })
  // Nothing here depends on how busy the machine is.
  for (const each of [relay, other]) await force(each, 'normal')
  const old = await view(t, relay, 'webtransport')
  await assertFetches(old, 0)

  await force(relay, 'shedding')
  assert.equal((await ask(`${relay.adminUrl}/ready`)).status, 503)
  await assertFetches(old, 0)
  assert.equal((await fetchHashed(relay.viewerUrl + path(0))).sha256, digest(0))
  assertShed(await ask(relay.viewerUrl + path(1)))

  for (const [position, transport] of (['webtransport', 'websocket'] as const).entries()) {
    const viewer = await view(t, relay, transport)
    await until(async () => viewer.transports.at(-1)?.relayUrl, url => url === other.viewerUrl)
    assert.deepEqual(viewer.transports.map(({ relayUrl, transport: over }) => [relayUrl, over]), [[relay.viewerUrl, transport], [other.viewerUrl, transport]])
    assert.deepEqual(viewer.messages.find(({ type }) => type === 'redirect'), { type: 'redirect', url: other.viewerUrl, reason: 'overload' })
    await assertFetches(viewer, 2 + position)
  }
  // Whoever does not wait for the redirect is told to come back later, and gets it from the other relay then.
  const hasty = await view(t, relay, 'webtransport')
  await assertFetches(hasty, 4)
  assert.equal(hasty.transports.at(-1)?.relayUrl, other.viewerUrl)
  const stored = await Promise.all([0, 2, 3, 4].map(async part => (await ask(`${other.adminUrl}/admin/v1/cache/shards/${CID}/${part}`)).status))
  assert.deepEqual(stored, [404, 200, 200, 200])
  assert.deepEqual(old.transports.map(({ relayUrl }) => relayUrl), [relay.viewerUrl], 'who was there stays')
  await until(async () => await metric(relay.adminUrl, 'icn_relay_overload_shed_total', '{kind="session"}'), count => count === 3)
  assert.ok(await metric(relay.adminUrl, 'icn_relay_overload_shed_total', '{kind="miss"}') >= 1)
  assert.equal(await metric(relay.adminUrl, 'icn_relay_overload_state'), 2)

  await force(relay, 'normal')
  assert.equal((await ask(`${relay.adminUrl}/ready`)).status, 200)
  assert.equal((await fetchHashed(relay.viewerUrl + path(1))).sha256, digest(1))
  const back = await view(t, relay, 'webtransport')
  await assertFetches(back, 5)
  assert.deepEqual(back.transports.map(({ relayUrl }) => relayUrl), [relay.viewerUrl])
  for (const line of ['shedding', 'normal']) assert.ok(changes(relay).some(change => change.endsWith(`${line} override`)), changes(relay).join())

  await force(plain, 'shedding')
  const sent = await view(t, plain, 'webtransport', ['http'])
  await until(async () => sent.transports.at(-1)?.relayUrl, url => url === origin.url)
  assert.equal(sent.client.transport.transport, 'http')
  await assertFetches(sent, 6)
})

/** Processes that do nothing but take CPU, more and more of them. */
/** Ends with the test, however that ends. */
const HOG = 'const { ppid } = process; for (;;) if (process.ppid !== ppid) process.exit()'

class Hogs {
  readonly #running: ChildProcess[] = []

  get count (): number { return this.#running.length }

  async grow (count: number): Promise<void> {
    while (this.#running.length < count) {
      const hog = spawn(process.execPath, ['--eval', HOG], { stdio: 'ignore' })
      await once(hog, 'spawn')
      this.#running.push(hog)
    }
  }

  async end (): Promise<void> {
    await Promise.all(this.#running.splice(0).map(async hog => {
      const ended = once(hog, 'exit')
      hog.kill('SIGKILL')
      await ended
    }))
  }
}

/** More would leave the relay no time to answer at all; with these it takes as many looks as it takes. */
const MAX_HOGS = 8

/** Beside a hog on its core a process that is this nice has about a thirtieth of its time, and the test itself still has its own. */
const NICE = 15

test('hogs take the CPU: the relay sheds, serves its hits all the while, and recovers when they are gone', LIMIT, async t => {
  const phase = { over: false, hits: 0 }
  const hogs = new Hogs()
  t.after(async () => {
    phase.over = true
    await hogs.end()
  })
  const origin = await spawnSuperNode(t, 'NA-WEST')
  const relay = await spawnRelay(t, [origin], {
    transport: TRANSPORT,
    // Far below what a relay is configured with: the drill needs not starve the machine it runs on.
    overload: { sample_ms: 100, degraded_delay_ms: 60, shedding_delay_ms: 150, leave_degraded_ms: 800, leave_shedding_ms: 400 },
    upstream: PATIENT_UPSTREAM
  })
  setPriority(relay.pid, NICE)
  const viewer = await view(t, relay, 'webtransport')
  // A busy machine may make it degraded by itself.
  await until(async () => await report(relay), ({ state }) => state !== 'shedding')
  for (let part = 0; part < 4; part++) {
    await until(async () => await ask(relay.viewerUrl + path(part)), ({ status }) => status === 200)
    await assertFetches(viewer, part)
  }
  // Each viewer had its last byte before the store was done.
  await until(async () => await cacheStats(relay.adminUrl), ({ fills, disk }) => fills === 0 && disk.entries >= 4)
  const { length: before } = (await until(async () => await report(relay), ({ state }) => state === 'normal')).transitions

  const wrong: unknown[] = []
  const everyone = [0, 1, 2, 3].map(async part => {
    while (!phase.over) {
      const got = await fetchHashed(relay.viewerUrl + path(part)).catch((error: unknown) => error)
      if (got instanceof Error || (got as { status: number, sha256: string }).sha256 !== digest(part)) wrong.push(got)
      phase.hits++
    }
  })
  const overSessions = (async () => {
    while (!phase.over) await assertFetches(viewer, phase.hits % 4)
  })().catch((error: unknown) => { wrong.push(error) })
  let misses = 0
  let refused: AnyResponse | undefined
  for (let count = 2; refused === undefined; count = Math.min(MAX_HOGS, count * 2)) {
    await hogs.grow(count)
    // As many looks as it takes to find out, however long each takes.
    for (let look = 0; look < 20 && refused === undefined; look++) {
      if ((await report(relay)).state !== 'shedding') continue
      const answer = await ask(relay.viewerUrl + path(misses % 14, `syn-1000-miss-${misses}`))
      misses++
      if (answer.status === 503) refused = answer
    }
  }
  assertShed(refused)
  const hitsBefore = phase.hits
  await until(async () => phase.hits, hits => hits >= hitsBefore + 10)
  t.diagnostic(`${hogs.count} hogs, ${phase.hits} hits over HTTP, ${misses} misses, reason ${String((await report(relay)).reason)}`)
  phase.over = true
  await Promise.all([...everyone, overSessions])
  await hogs.end()
  assert.deepEqual(wrong, [])

  await until(async () => await report(relay), ({ state }) => state === 'normal')
  assert.equal((await ask(`${relay.adminUrl}/ready`)).status, 200)
  const late = await until(async () => await ask(relay.viewerUrl + path(9)), ({ status }) => status === 200)
  assert.equal(sha256(late.body), digest(9))
  const { transitions } = await report(relay)
  const seen = transitions.slice(Math.min(before, transitions.length))
  assert.ok(seen.some(({ to }) => to === 'shedding') && seen.some(({ from }) => from === 'shedding'))
  assert.ok(transitions.every(({ signal }) => signal === 'event_loop_delay' || signal === 'gateway_event_loop_delay'), JSON.stringify(transitions))
  const counted = async (from: string, to: string): Promise<number> => {
    const signals = ['event_loop_delay', 'gateway_event_loop_delay']
    const counts = await Promise.all(signals.map(async signal => await metric(relay.adminUrl, 'icn_relay_overload_transitions_total', `{from="${from}",to="${to}",signal="${signal}"}`)))
    return counts.reduce((sum, count) => sum + count, 0)
  }
  assert.ok(await counted('shedding', 'degraded') + await counted('shedding', 'normal') >= 1)
  assert.ok(await counted('degraded', 'normal') + await counted('shedding', 'normal') >= 1)
  assert.ok(await metric(relay.adminUrl, 'icn_relay_overload_shed_total', '{kind="miss"}') >= 1)
  assert.ok(changes(relay).length >= seen.length)
})
