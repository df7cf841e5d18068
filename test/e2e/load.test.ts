import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { before, after, suite, test } from 'node:test'
import { isClean, type LoadResult } from '../../autocannon/result.ts'
import { startRig, type Rig } from '../../autocannon/rig.ts'
import { httpWorker, loadRig, type HttpWorker } from '../../autocannon/run-scenario.ts'
import { SCENARIOS } from '../../autocannon/scenarios/index.ts'
import { ViewerFleet } from '../../autocannon/viewers/fleet.ts'
import { loadViewers, type ViewersOptions } from '../../autocannon/viewers/run-viewers.ts'
import { buildRelay, runToEnd, type Ended } from '../../tools/harness/processes.ts'
import { temporaryDirectory } from '../../tools/harness/temporary-directory.ts'

const load = async (...args: string[]): Promise<Ended> => await runToEnd('autocannon/main.ts', args)

const VIEWERS: Omit<ViewersOptions, 'transport' | 'mode'> = {
  processes: 2, sessions: 4, ramp: 0.2, streams: 2, seconds: 1, shardBytes: 50_000, objects: 5, zipf: 0.9, hitRatio: 0.8, think: 100, arrivals: 'poisson', bitrate: 2_000_000, buffer: 0.4, seed: 1
}

suite('load tests', { timeout: 280_000 }, () => {
  const hooks: (() => Promise<void> | void)[] = []
  const cleanup = { after: (hook: () => Promise<void> | void) => { hooks.push(hook) } }
  let program: string
  let rig: Rig
  let worker: HttpWorker
  let fleet: ViewerFleet
  before(async () => {
    program = await buildRelay(cleanup)
    rig = await startRig(cleanup, { program, settings: { cache: { max_bytes: 500_000_000 } } })
    worker = httpWorker(cleanup)
    fleet = ViewerFleet.start(cleanup, VIEWERS.processes)
  })
  after(async () => { for (const hook of hooks) await hook() })

  for (const scenario of SCENARIOS) {
    test(`${scenario.name}: every answer is right, and what it cost is known`, async () => {
      const result = await loadRig(rig, worker, scenario, { seconds: 60, requests: 12, connections: 3, seed: 1 })
      assert.ok(isClean(result), JSON.stringify(result))
      assert.equal(result.requests, 12)
      assert.equal(result.verified.bodies, 20)
      assert.deepEqual(result.statuses, { [scenario.expect.status]: result.requests })
      assert.equal(result.latencyMs.count, result.requests)
      assert.ok(result.latencyMs.p99 >= result.latencyMs.p50 && (result.firstByteMs?.p50 ?? 0) > 0)
      assert.deepEqual(result.servers.map(({ name }) => name), ['relay', 'gateway'])
      for (const { cpuMs, rssMaxBytes } of result.servers) assert.ok(cpuMs >= 0 && rssMaxBytes > 1_000_000)
      assert.ok((result.serverCpuMsPerRequest ?? 0) > 0)
      if (scenario.expect.bytes !== undefined) assert.ok(result.bytes >= result.requests * scenario.expect.bytes)
      if (scenario.warm && scenario.mix.kind === 'rotate') assert.equal(result.hitRatio, 1)
      if (scenario.name === 'miss') assert.equal(result.hitRatio, 0)
      if (scenario.surface === 'admin') assert.equal(result.hitRatio, null)
    })
  }

  test('viewers who fetch by a schedule over WebTransport: all sessions, all answers, hits and misses', async () => {
    const result = await loadViewers(rig, fleet, { ...VIEWERS, transport: 'webtransport', mode: 'fetch' })
    assert.ok(isClean(result), JSON.stringify(result))
    assert.deepEqual([result.sessions?.opened, result.sessions?.failed, result.sessions?.lost], [4, 0, 0])
    assert.equal(result.sessions?.handshakeMs.count, 4)
    assert.deepEqual(result.verified, { bodies: 20, wrong: 0 })
    // Eight streams, one request every 100 ms for a second: 80 requests, give or take what chance does.
    assert.ok(result.requests > 40 && result.requests < 130, `${result.requests}`)
    assert.ok(result.hitRatio !== null && result.hitRatio > 0.5 && result.hitRatio < 1, `${result.hitRatio}`)
    assert.equal(result.settings['loop'], 'open')
  })

  test('viewers who play a video over WebSocket: the picture starts, and time is accounted for', async () => {
    const result = await loadViewers(rig, fleet, { ...VIEWERS, transport: 'websocket', mode: 'playback' })
    assert.ok(isClean(result), JSON.stringify(result))
    const { playback } = result
    assert.ok(playback !== undefined)
    assert.equal(playback.startupMs.count, 4)
    const spent = playback.playedSeconds + playback.stalledMs / 1_000 + playback.startupMs.mean * 4 / 1_000
    // Four viewers for a second each, and the turn of the event loop in which each of them left.
    assert.ok(spent > 3.9 && spent < 8, `${spent}`)
  })

  test('the command writes JSON and a table, and is exact about what it was told', async t => {
    const directory = await temporaryDirectory(t)
    const file = join(directory, 'result.json')
    const profile = join(directory, 'profiles')
    const done = await load('conditional', '--requests', '200', '--connections', '2', '--program', program, '--json', file, '--set', 'cache.ram_bytes=0', '--profile', profile)
    assert.deepEqual({ code: done.code, stderr: done.stderr }, { code: 0, stderr: '' })
    assert.match(done.stdout, /^\| scenario +\| conditional/)
    const results = JSON.parse(await readFile(file, 'utf8')) as LoadResult[]
    assert.deepEqual(results.map(({ version, scenario, settings }) => ({ version, scenario, connections: settings['connections'], ram: settings['cache.ram_bytes'] })), [{ version: 1, scenario: 'conditional', connections: 2, ram: 0 }])
    const [{ profiles = [] } = {}] = results
    assert.deepEqual(profiles.map(({ name }) => name), ['relay', 'gateway'])
    for (const { name, file: written, hotSpots } of profiles) {
      assert.ok(name === 'gateway' || hotSpots.length > 3, `${name}: ${hotSpots.length}`)
      assert.match(done.stdout, new RegExp(`^conditional: ${name}, time in the function itself`, 'm'))
      assert.ok('samples' in (JSON.parse(await readFile(written, 'utf8')) as object), 'what DevTools read')
    }
    const list = await load('list')
    assert.equal(list.code, 0)
    for (const name of [...SCENARIOS.map(scenario => scenario.name), 'viewers']) assert.match(list.stdout, new RegExp(`^${name} `, 'm'))
  })

  test('what it does not understand it names, and ends with 2', async () => {
    const { code, stderr } = await load('hit-2mb')
    assert.equal(code, 2)
    assert.match(stderr, /^load: unknown scenario "hit-2mb"; known are hit-1mb .* viewers all\n$/)
  })
})
