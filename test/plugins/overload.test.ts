import assert from 'node:assert/strict'
import { suite, test, type TestContext } from 'node:test'
import { request, type Dispatcher } from 'undici'
import { startSuperNode, syntheticShard, type SuperNode } from '../../demo/super-node/server.ts'
import { connect, type ShardClient } from '../../client/src/node.ts'
import { OVERLOAD_SIGNALS } from '../../src/plugins/overload/signals.ts'
import type { ControlMessage } from '../../src/protocol/control-messages.ts'
import { metric, sha256, until } from '../../tools/harness/http.ts'
import { openGatewaySession } from '../../tools/harness/quinn-rig.ts'
import { assertProblem, type AnyResponse } from '../support/problem.ts'
import { startRelay, type RunningRelay } from '../../tools/harness/relay.ts'

const LIMIT = { timeout: 240_000 }
const SIZE = 300_000
const CID = `syn-${SIZE}-overload`
const GATEWAY = { engine: 'quinn', heartbeat_ms: 50 }

interface Setup extends RunningRelay {
  readonly origin: SuperNode
}

async function setup (t: TestContext, settings: Record<string, Record<string, unknown>> = {}): Promise<Setup> {
  const origin = await startSuperNode({ port: 0 })
  t.after(async () => { await origin.close() })
  return { origin, ...await startRelay(t, [{ url: origin.url, region: origin.region }], { ...settings, admin: { requests_per_minute: 100_000, ...settings['admin'] } }) }
}

async function call (url: string, method: Dispatcher.HttpMethod = 'GET', body?: unknown, headers: Record<string, string> = {}): Promise<AnyResponse> {
  const response = await request(url, { method, headers: { ...headers, ...body === undefined ? {} : { 'content-type': 'application/json' } }, ...body === undefined ? {} : { body: JSON.stringify(body) } })
  return { status: response.statusCode, headers: response.headers, body: Buffer.from(await response.body.arrayBuffer()) }
}

interface Report {
  readonly state: string
  readonly since: number
  readonly override: string | null
  readonly measured: string
  readonly reason: string | null
  readonly redirectTo: readonly string[]
  readonly signals: readonly { signal: string, value: number | null, ratio: number, state: string, thresholds: { degraded: { enter: number, leave: number } } }[]
  readonly transitions: readonly { at: number, from: string, to: string, signal: string, value: number | null }[]
}

const json = <T>(response: AnyResponse): T => JSON.parse(response.body.toString()) as T
const report = async ({ adminUrl }: RunningRelay): Promise<Report> => json<Report>(await call(`${adminUrl}/admin/v1/overload`))

async function force ({ adminUrl }: RunningRelay, override: string): Promise<Report> {
  const answer = await call(`${adminUrl}/admin/v1/overload`, 'PUT', { override })
  assert.equal(answer.status, 200, answer.body.toString())
  return json<Report>(answer)
}

const shard = async ({ viewerUrl }: RunningRelay, part: number, cid = CID): Promise<AnyResponse> => await call(`${viewerUrl}/shards/${cid}/shard_${part}.bin`)

function assertShard (response: AnyResponse, part: number, cid = CID): void {
  assert.equal(response.status, 200, response.body.toString('latin1', 0, 300))
  assert.equal(sha256(response.body), sha256(syntheticShard(cid, part)))
}

function assertShed (response: AnyResponse): void {
  assertProblem(response, 'RELAY_ERR_OVERLOADED')
  assert.match(String(response.headers['retry-after']), /^[3-8]$/)
}

const shed = async ({ adminUrl }: RunningRelay, kind: 'session' | 'miss'): Promise<number> => await metric(adminUrl, 'icn_relay_overload_shed_total', `{kind="${kind}"}`)

interface Told { readonly client: ShardClient, readonly messages: ControlMessage[] }

async function dial (t: TestContext, { viewerUrl }: RunningRelay, transport: 'webtransport' | 'websocket' = 'webtransport'): Promise<Told> {
  const messages: ControlMessage[] = []
  const client = await connect(viewerUrl, { transports: [transport], connectTimeoutMs: 20_000, attempts: 1, onControl: message => { messages.push(message) } })
  t.after(() => { client.close() })
  return { client, messages }
}

const redirects = ({ messages }: Told): string[] => messages.flatMap(message => message.type === 'redirect' ? [message.url] : [])

suite('viewers over HTTP', () => {
  test('while shedding, hits and fills under way are served and new misses refused; degraded refuses nobody', async t => {
    const running = await setup(t, { upstream: { first_byte_timeout_ms: 30_000, headers_timeout_ms: 30_000 } })
    assertShard(await shard(running, 0), 0)
    running.origin.setFaults({ match: 'shard_01', latencyMs: 700 })
    const slow = [shard(running, 1), shard(running, 1)]
    await until(async () => running.relay.admin.shards.fills, fills => fills === 1)
    await force(running, 'shedding')
    slow.push(shard(running, 1))
    assertShed(await shard(running, 2))
    assertShed(await call(`${running.viewerUrl}/shards/${CID}/manifest.json`))
    assert.equal((await call(`${running.viewerUrl}/shards/${CID}/shard_2.bin`, 'HEAD')).status, 503)
    assertShard(await shard(running, 0), 0)
    const asked = running.origin.stats().byPath
    assert.deepEqual(Object.keys(asked).filter(path => path.startsWith('/shards/')), [`/shards/${CID}/shard_00.bin`, `/shards/${CID}/shard_01.bin`])
    for (const response of await Promise.all(slow)) assertShard(response, 1)
    assert.equal(await shed(running, 'miss'), 3)
    assert.equal(await metric(running.adminUrl, 'icn_relay_open_failures_total', '{code="RELAY_ERR_OVERLOADED"}'), 3)
    assertProblem(await call(`${running.viewerUrl}/shards/${CID}/shard_14.bin`), 'RELAY_ERR_SHARD_PATH')
    await force(running, 'degraded')
    assertShard(await shard(running, 2), 2)
    await force(running, 'auto')
    assertShard(await shard(running, 3), 3)
    assert.equal(await shed(running, 'miss'), 3)
  })

  test('chunks are half as large when degraded and a quarter when shedding, and no object is copied to memory', async t => {
    const running = await setup(t)
    const { shards, shardCache } = running.relay.admin
    const open = shards.open.bind(shards)
    let lengths: number[] = []
    shards.open = async (...args) => {
      const opened = await open(...args)
      return {
        ...opened,
        read: async (position, length) => {
          lengths.push(length)
          return await opened.read(position, length)
        }
      }
    }
    await shard(running, 0)
    for (const [state, chunk] of [['normal', 262_144], ['degraded', 131_072], ['shedding', 65_536]] as const) {
      await force(running, state)
      lengths = []
      if (state === 'normal') await shard(running, 0)
      else for (let hit = 0; hit < 3; hit++) assertShard(await shard(running, 0), 0)
      assert.equal(Math.max(...lengths), chunk)
      await shardCache.flush()
      assert.equal(shardCache.ram.count, 0)
    }
    await force(running, 'auto')
    await shard(running, 0)
    await shardCache.flush()
    assert.equal(shardCache.ram.count, 1)
  })
})

suite('operators', () => {
  test('see every signal with its thresholds, and nothing of a healthy relay', async t => {
    const running = await setup(t)
    await until(async () => await report(running), ({ signals }) => signals.every(({ signal, value }) => value !== null || signal.startsWith('gateway_')))
    const { signals, transitions, since, ...rest } = await report(running)
    assert.deepEqual(rest, { state: 'normal', override: null, measured: 'normal', reason: null, redirectTo: [] })
    assert.ok(since <= Date.now() && since > Date.now() - 100_000)
    assert.deepEqual(transitions, [])
    assert.deepEqual(signals.map(({ signal }) => signal), [...OVERLOAD_SIGNALS])
    for (const { signal, value, ratio, thresholds } of signals) {
      if (value === null) continue
      assert.ok(value >= 0 && Math.abs(ratio - value / thresholds.degraded.enter) < 1e-9, signal)
      if (signal === 'heap' || signal === 'rss') assert.ok(value > 0 && value < 1, `${signal} ${value}`)
    }
    assert.equal(await metric(running.adminUrl, 'icn_relay_overload_state'), 0)
    for (const { signal } of signals) assert.ok((await call(`${running.adminUrl}/metrics`)).body.includes(`icn_relay_overload_signal{signal="${signal}"} `), signal)
  })

  test('force a state: readiness, metrics and the report follow, and what only measures refuses nothing', async t => {
    const running = await setup(t)
    const { adminUrl } = running
    const ready = async (): Promise<[number, boolean, string]> => {
      const answer = await call(`${adminUrl}/ready`)
      const { ready: value, checks } = json<{ ready: boolean, checks: { overload: string } }>(answer)
      return [answer.status, value, checks.overload]
    }
    assert.deepEqual(await ready(), [200, true, 'normal'])
    await force(running, 'degraded')
    assert.deepEqual(await ready(), [200, true, 'degraded'])
    const before = Date.now()
    const forced = await force(running, 'shedding')
    assert.deepEqual([forced.state, forced.override, forced.measured, forced.reason], ['shedding', 'shedding', 'normal', 'override'])
    assert.ok(forced.since >= before && forced.since <= Date.now())
    assert.deepEqual(await ready(), [503, false, 'shedding'])
    assert.equal((await call(`${adminUrl}/health`)).status, 200)
    assert.equal(await metric(adminUrl, 'icn_relay_overload_state'), 2)
    assert.deepEqual(json(await call(`${running.viewerUrl}/v1/transport`)), { region: 'NA-WEST', http: { url: running.viewerUrl }, overloaded: true })
    const back = await force(running, 'auto')
    assert.deepEqual([back.state, back.override, back.reason], ['normal', null, null])
    assert.deepEqual(await ready(), [200, true, 'normal'])
    assert.deepEqual(back.transitions.map(({ from, to, signal, value }) => [from, to, signal, value]), [['normal', 'degraded', 'override', null], ['degraded', 'shedding', 'override', null], ['shedding', 'normal', 'override', null]])
    for (const { from, to } of back.transitions) assert.equal(await metric(adminUrl, 'icn_relay_overload_transitions_total', `{from="${from}",to="${to}",signal="override"}`), 1)
    assert.deepEqual(json(await call(`${running.viewerUrl}/v1/transport`)), { region: 'NA-WEST', http: { url: running.viewerUrl } })
  })

  test('a body that is not exactly right is 400 and changes nothing; a read token may only look', async t => {
    const running = await setup(t, { admin: { tokens: [{ token: 'reader-reader-reader', scope: 'read' }, { token: 'writer-writer-writer', scope: 'write' }] } })
    const url = `${running.adminUrl}/admin/v1/overload`
    const reader = { authorization: 'Bearer reader-reader-reader' }
    const writer = { authorization: 'Bearer writer-writer-writer' }
    assertProblem(await call(url), 'RELAY_ERR_ADMIN_UNAUTHORIZED')
    assertProblem(await call(url, 'PUT', { override: 'shedding' }, reader), 'RELAY_ERR_ADMIN_SCOPE')
    for (const body of [{}, [], null, { override: null }, { override: 2 }, { override: 'Shedding' }, { override: 'normal', more: 1 }, { state: 'normal' }]) {
      assertProblem(await call(url, 'PUT', body, writer), 'RELAY_ERR_BAD_REQUEST', JSON.stringify(body))
    }
    assert.equal(json<Report>(await call(url, 'GET', undefined, reader)).state, 'normal')
    assert.equal(json<Report>(await call(url, 'PUT', { override: 'degraded' }, writer)).state, 'degraded')
  })
})

suite('viewers over sessions', () => {
  test('those that exist stay and are served what is there; new ones are sent to the alternates in turn, also by a new gateway', LIMIT, async t => {
    const alternates = ['http://127.0.0.1:1', 'http://127.0.0.1:2']
    const running = await setup(t, { transport: GATEWAY, overload: { alternates } })
    const old = await dial(t, running)
    assert.equal(sha256((await old.client.fetchShard(CID, 0)).bytes), sha256(syntheticShard(CID, 0)))
    assert.deepEqual((await force(running, 'shedding')).redirectTo, alternates)
    assert.equal((await old.client.fetchShard(CID, 0)).cache, 'hit')
    await assert.rejects(old.client.fetchShard(CID, 1), (error: unknown) => {
      const { status, code, retryAfterMs = 0 } = error as { status?: number, code?: string, retryAfterMs?: number }
      return status === 503 && code === 'RELAY_ERR_OVERLOADED' && retryAfterMs >= 3_000 && retryAfterMs <= 8_000
    })
    const transport = json<{ webtransport?: object, websocket?: object, overloaded?: boolean }>(await call(`${running.viewerUrl}/v1/transport`))
    assert.ok(transport.webtransport !== undefined && transport.websocket !== undefined && transport.overloaded === true)

    const first = await dial(t, running)
    await until(async () => redirects(first), urls => urls.length > 0)
    const second = await dial(t, running, 'websocket')
    await until(async () => redirects(second), urls => urls.length > 0)
    assert.deepEqual([redirects(first), redirects(second)], [[alternates[0]], [alternates[1]]])
    await until(async () => first.messages.length, length => length === 3)
    assert.deepEqual(first.messages.map(({ type }) => type), ['hello', 'redirect', 'drain'])
    assert.deepEqual(first.messages[1], { type: 'redirect', url: alternates[0], reason: 'overload' })
    assert.deepEqual(first.messages[2], { type: 'drain', deadlineMs: 30_000, alternates })
    assert.equal((await first.client.fetchShard(CID, 0)).cache, 'hit', 'whoever cannot go is served until the deadline')
    assert.deepEqual(old.messages.map(({ type }) => type), ['hello'])
    await until(async () => await shed(running, 'session'), count => count === 2)

    for (const { client } of [old, first, second]) client.close()
    const { supervisor } = running.relay.admin.viewers
    const pid = supervisor?.pid
    assert.ok(pid)
    process.kill(pid, 'SIGKILL')
    await until(async () => supervisor, value => value?.listening !== undefined && value.pid !== pid)
    const third = await dial(t, running)
    await until(async () => redirects(third), urls => urls.length > 0)
    third.client.close()

    await force(running, 'auto')
    const last = await dial(t, running)
    assert.equal(sha256((await last.client.fetchShard(CID, 1)).bytes), sha256(syntheticShard(CID, 1)))
    assert.deepEqual(last.messages.map(({ type }) => type), ['hello'])
    await until(async () => await shed(running, 'session'), count => count === 3)
  })

  test('with nowhere to go new ones are refused with 503 and counted, and their transports are not offered', LIMIT, async t => {
    const running = await setup(t, { transport: GATEWAY })
    const old = await dial(t, running)
    await old.client.fetchShard(CID, 0)
    await force(running, 'shedding')
    await assert.rejects(openGatewaySession(running.relay), { name: 'ConnectError' })
    await until(async () => await shed(running, 'session'), count => count === 1)
    assert.deepEqual(json(await call(`${running.viewerUrl}/v1/transport`)), { region: 'NA-WEST', http: { url: running.viewerUrl }, overloaded: true })
    assert.equal((await old.client.fetchShard(CID, 0)).transport, 'webtransport')
    const client = await connect(running.viewerUrl, { attempts: 1 })
    t.after(() => { client.close() })
    assert.deepEqual([client.transport.transport, client.transport.overloaded], ['http', true])
    assert.equal((await client.fetchShard(CID, 0)).cache, 'hit')
    await force(running, 'auto')
    const session = await openGatewaySession(running.relay)
    session.close()
  })

  test('where the operator allows it they are sent to the nearest super-node that is up, and refused when there is none', LIMIT, async t => {
    const running = await setup(t, { transport: GATEWAY, overload: { redirect_to_super_nodes: true }, upstream: { circuit_failures: 1, health_interval_ms: 50, backoff_initial_ms: 60_000 } })
    await (await dial(t, running)).client.fetchShard(CID, 0)
    assert.deepEqual((await force(running, 'shedding')).redirectTo, [running.origin.url])
    const sent = await dial(t, running)
    await until(async () => redirects(sent), urls => urls.length > 0)
    assert.deepEqual(redirects(sent), [running.origin.url])
    await running.origin.close()
    await until(async () => await report(running), ({ redirectTo }) => redirectTo.length === 0)
    await until(async () => await openGatewaySession(running.relay).then(session => {
      session.close()
      return false
    }, () => true), refused => refused)
  })
})

suite('signals', () => {
  const FAST = { sample_ms: 50, leave_degraded_ms: 200, leave_shedding_ms: 100 }

  test('sessions: a full relay sends new viewers away and serves the misses of those it has', LIMIT, async t => {
    const running = await setup(t, { transport: { ...GATEWAY, max_sessions: 4 }, overload: { ...FAST, degraded_load_percent: 50, shedding_load_percent: 75, alternates: ['http://127.0.0.1:1'] } })
    const viewers = [await dial(t, running), await dial(t, running)]
    const degraded = await until(async () => await report(running), ({ state }) => state !== 'normal')
    assert.deepEqual([degraded.state, degraded.reason], ['degraded', 'sessions'])
    viewers.push(await dial(t, running))
    const shedding = await until(async () => await report(running), ({ state }) => state === 'shedding')
    assert.equal(shedding.reason, 'sessions')
    assert.equal((await viewers[0]?.client.fetchShard(CID, 5))?.cache, 'miss')
    const late = await dial(t, running)
    await until(async () => redirects(late), urls => urls.length > 0)
    for (const { client } of [...viewers, late]) client.close()
    const { transitions } = await until(async () => await report(running), ({ state }) => state === 'normal')
    assert.deepEqual(transitions.map(({ from, to, signal }) => `${from} ${to} ${signal}`), ['normal degraded sessions', 'degraded shedding sessions', 'shedding degraded sessions', 'degraded normal sessions'])
    for (const { from, to, signal } of transitions) assert.equal(await metric(running.adminUrl, 'icn_relay_overload_transitions_total', `{from="${from}",to="${to}",signal="${signal}"}`), 1)
  })

  test('fills: origins that hang make it shed before the table of fills is full', async t => {
    const running = await setup(t, { overload: { ...FAST, shedding_load_percent: 90 }, upstream: { max_fills: 10, first_byte_timeout_ms: 60_000, headers_timeout_ms: 60_000, hedge_max_parallel: 1 } })
    assertShard(await shard(running, 0), 0)
    running.origin.setFaults({ hang: true, match: 'hang' })
    const hanging = Array.from({ length: 9 }, async (_, part) => await shard(running, part, 'syn-10-hang').catch(() => undefined))
    const { reason } = await until(async () => await report(running), ({ state }) => state === 'shedding')
    assert.equal(reason, 'fills')
    assertShed(await shard(running, 1))
    assertShard(await shard(running, 0), 0)
    await running.relay.close()
    await Promise.all(hanging)
  })

  test('the gateway tells of its event loop and memory', LIMIT, async t => {
    const running = await setup(t, { transport: GATEWAY, overload: FAST })
    const { signals } = await until(async () => await report(running), all => all.signals.every(({ value }) => value !== null))
    const rss = signals.find(({ signal }) => signal === 'gateway_rss')?.value ?? 0
    assert.ok(rss > 0.01 && rss < 0.8, `${rss}`)
  })
})
