import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Writable } from 'node:stream'
import { test, type TestContext } from 'node:test'
import type { FastifyInstance } from 'fastify'
import { request } from 'undici'
import { createLogger } from '../../src/base/log.ts'
import { configKeys } from '../../src/config/schema.ts'
import { metric, until } from '../../tools/harness/http.ts'
import { makeCertificate } from '../../tools/harness/quinn-rig.ts'
import { startRelay, type RunningRelay } from '../../tools/harness/relay.ts'
import { temporaryDirectory } from '../../tools/harness/temporary-directory.ts'
import { keyPair, SECRET } from '../support/jwt.ts'
import { assertProblem } from '../support/problem.ts'

type Settings = Record<string, Record<string, unknown>>
const NODES = [{ url: 'http://127.0.0.1:9', region: 'APAC' }]

interface Lab extends RunningRelay {
  readonly lines: string[]
  readonly ask: (method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE', path: string, body?: unknown, token?: string) => Promise<{ status: number, headers: Record<string, string | string[] | undefined>, json: never, text: string }>
}

async function start (t: TestContext, settings: Settings = {}): Promise<Lab> {
  const lines: string[] = []
  const logger = createLogger('info', new Writable({ write (chunk: Buffer, _encoding, done) { lines.push(chunk.toString()); done() } }))
  const running = await startRelay(t, NODES, settings, { logger })
  return {
    ...running,
    lines,
    ask: async (method, path, body, token) => {
      const headers = { 'x-requested-with': 'test', ...body === undefined ? {} : { 'content-type': 'application/json' }, ...token === undefined ? {} : { authorization: `Bearer ${token}` } }
      const response = await request(`${running.adminUrl}/admin/v1${path}`, { method, headers, ...body === undefined ? {} : { body: JSON.stringify(body) } })
      const text = await response.body.text()
      return { status: response.statusCode, headers: response.headers, json: JSON.parse(text) as never, text }
    }
  }
}

/** A key, another value of it, and where that is seen. */
type Effect = readonly [key: string, value: unknown, seen: (app: FastifyInstance) => unknown]

/** Of the keys of one section, whose values are seen in the same place. */
function seenIn (section: string, values: Record<string, unknown>, seen: (app: FastifyInstance) => unknown): Effect[] {
  return Object.entries(values).map(([key, value]) => [`${section}.${key}`, value, seen])
}

/** The settings with another value of one key. */
function changed (settings: Settings, key: string, value: unknown): Settings {
  const [section = '', ...rest] = key.split('.')
  const table = settings[section] ?? {}
  const [name = '', inner] = rest
  return { ...settings, [section]: { ...table, [name]: inner === undefined ? value : { ...table[name] as object, [inner]: value } } }
}

test('every key is marked as it is: live ones, and no others, are in force after a reload', async t => {
  const directory = await temporaryDirectory(t)
  const put = async (name: string, text: string): Promise<string> => {
    await writeFile(join(directory, name), text)
    return join(directory, name)
  }
  const [pair, other] = [makeCertificate(), keyPair('EdDSA')]
  const [cert, key, otherCert] = [await put('cert.pem', pair.cert), await put('key.pem', pair.key), await put('other-cert.pem', `${pair.cert}\n`)]
  const [pem, otherPem, secret, list] = [await put('a.pem', keyPair('EdDSA').pem), await put('b.pem', other.pem), await put('secret', SECRET), await put('denied.txt', 'QmDenied\n')]
  const jwks = await put('jwks.json', JSON.stringify({ keys: [{ ...keyPair('ES256').publicKey.export({ format: 'jwk' }), kid: 'a' }] }))
  const base: Settings = { tls: { cert, key }, auth: { jwt: { public_key_files: [pem] } }, overload: { sample_ms: 10_000 }, admin: { requests_per_minute: 100_000 } }
  const lab = await start(t, base)
  const app = lab.relay.admin
  const { liveConfig: live } = app
  const rss = (): unknown => app.overload.signals().find(({ signal }) => signal === 'rss')?.value
  const effects: Effect[] = [
    ['admin.tokens', [{ token: 'a-token-of-an-operator', scope: 'read' }], async () => (await lab.ask('GET', '/limits')).status],
    ['admin.loopback_without_token', true, () => live.config.admin.loopback_without_token],
    ['admin.requests_per_minute', 90_000, async () => (await lab.ask('GET', '/limits')).headers['x-ratelimit-limit']],
    ['cache.max_bytes', 20_000_000, () => app.shardCache.disk.configuredBytes],
    ['cache.ram_bytes', 1_000_000, () => app.shardCache.ram.maxBytes],
    ['cache.ttl', [{ ttl_ms: 9_000 }], () => app.shardCache.freshness.lifetimeOf({ cid: 'Qm', part: 0 })],
    ['upstream.super_nodes', [{ url: 'http://127.0.0.1:9', region: 'MENA' }], () => [app.upstream.status().map(({ region }) => region), app.region.current]],
    ['denylist.file', list, () => app.denylist.size],
    ['region.override', 'MENA', () => app.region.current],
    ...seenIn('limits', { handshakes_per_second: 1, handshakes_per_second_per_ip: 1, tracked_ips: 9, requests_per_second_per_viewer: 9_000, responses_per_ip: 9, connections_per_ip: 9 }, () => [app.limits.numbers, app.viewers.live.current.limits, app.limits.responses.perAddress]),
    ...seenIn('bandwidth', { total_bps: 9_000_000, viewer_cap_bps: 9_000, viewer_floor_bps: 9, burst_bytes: 9 }, () => [app.bandwidth.keeper.limits, app.viewers.live.current.share]),
    ...seenIn('bandwidth', { weights: { gold: 2 }, ladder: [{ rendition: '9p', min_bps: 9 }] }, () => [app.bandwidth.classes, app.viewers.live.current.classes]),
    ['overload.sample_ms', 50, async () => { if (live.config.overload.sample_ms === 50) await until(async () => rss(), value => value !== null); return rss() !== null }],
    ['overload.memory_bytes', 2 ** 50, async () => { if (live.config.overload.memory_bytes > 0) await until(async () => Number(rss()), value => value > 0 && value < 1e-3); return Number(rss()) < 1e-3 }],
    ...seenIn('overload', { window_samples: 9, enter_samples: 2, leave_degraded_ms: 9, leave_shedding_ms: 9, leave_percent: 9, degraded_delay_ms: 9, shedding_delay_ms: 700_000, degraded_memory_percent: 9, shedding_memory_percent: 99, degraded_load_percent: 9, shedding_load_percent: 99 }, () => app.overload.policy),
    ['overload.alternates', ['https://other.example:9003'], () => app.viewers.redirectTo()],
    ['overload.redirect_to_super_nodes', true, () => app.viewers.redirectTo()],
    ...seenIn('auth', { require: true, tokens: [`sha256:${'a'.repeat(64)}`], 'jwt.hs256_secret': SECRET, 'jwt.hs256_secret_file': secret, 'jwt.public_key_files': [otherPem], 'jwt.jwks_file': jwks, 'jwt.issuer': 'me', 'jwt.audience': 'you', 'jwt.require_exp': false, 'jwt.clock_tolerance_ms': 9, 'signed_urls.keys': [{ kid: 'a', secret_file: secret }] }, () => [app.auth.current(), app.viewers.live.current.auth]),
    ['tls.cert', otherCert, () => app.certificates.current().cert],
    ['tls.key', await put('other-key.pem', `${pair.key}\n`), () => app.certificates.current().key],
    ...seenIn('viewer', { allow_networks: ['192.0.2.0/24'], deny_networks: ['192.0.2.0/24'] }, () => app.viewers.live.current.networks),
    ['log.level', 'warn', () => [app.log.level, app.log.child({}).level]],
    ...seenIn('access_log', { sample_hits: 0.5, sample_misses: 0.5, scrapes: true }, () => [app.accessLog.settings, app.viewers.live.current.access])
  ]
  const marked = configKeys().filter(({ live }) => live).map(({ path }) => path.join('.'))
  assert.deepEqual([...live.keys].toSorted(), marked.toSorted(), 'what is marked, somebody takes over')
  assert.deepEqual(effects.map(([name]) => name).toSorted(), marked.toSorted(), 'what is marked has an effect here')
  for (const [name, value, seen] of effects) {
    // What is measured is seen with the next sample.
    const around = name === 'overload.memory_bytes' ? changed(base, 'overload.sample_ms', 50) : base
    lab.rewrite(around)
    await live.reload()
    const before = JSON.stringify(await seen(app))
    lab.rewrite(changed(around, name, value))
    const { changed: keys, restart } = await live.reload()
    assert.deepEqual([keys.map(({ key }) => key), restart], [[name], []])
    assert.notEqual(JSON.stringify(await seen(app)), before, name)
  }
  lab.rewrite({ ...base, tls: {}, viewer: { max_connections: 9 }, log: { level: 'warn' } })
  assert.deepEqual((await live.reload()).restart, ['viewer.max_connections', 'tls.cert', 'tls.key'], 'viewer HTTP stays what it is')
})

test('SIGHUP and the route read the same; what is refused changes nothing of ten good keys, says every line, and is counted', async t => {
  const lab = await start(t)
  const { ask, rewrite, relay, adminUrl } = lab
  const ten = { handshakes_per_second: 11, handshakes_per_second_per_ip: 12, tracked_ips: 13, requests_per_second_per_viewer: 14_000, connections_per_ip: 15 }
  const good: Settings = { limits: ten, bandwidth: { total_bps: 1e9, viewer_cap_bps: 1e8, burst_bytes: 1e5 }, region: { override: 'MENA' }, cache: { ram_bytes: 1e6 } }
  const before = (await ask('GET', '/limits')).text
  rewrite({ ...good, auth: { jwt: { jwks_file: '/nowhere/jwks.json' } } })
  const refused = await ask('POST', '/config/reload')
  assert.deepEqual([refused.status, (refused.json as { code: string }).code, (refused.json as { detail: string }).detail], [422, 'RELAY_ERR_CONFIG_REFUSED', 'auth.jwt.jwks_file /nowhere/jwks.json cannot be read: ENOENT'])
  rewrite({ ...good, limits: { tracked_ips: 0, trackd: 1 } })
  assert.match((await ask('POST', '/config/reload')).text, /"detail":"unknown key limits\.trackd\\nlimits\.tracked_ips must be >= 1"/)
  await relay.reload()
  assert.deepEqual([(await ask('GET', '/limits')).text, relay.admin.region.current], [before, 'APAC'])
  assert.deepEqual([await metric(adminUrl, 'icn_relay_config_reload_success'), await metric(adminUrl, 'icn_relay_config_reloads_total', '{outcome="refused"}')], [0, 3])
  assert.equal(lab.lines.filter(line => line.includes('configuration not reloaded')).length, 3)

  rewrite(good)
  const { changed, restart, hash } = (await ask('POST', '/config/reload')).json as { changed: { key: string }[], restart: string[], hash: string }
  assert.deepEqual([changed.length, restart], [10, []])
  const { limits } = (await ask('GET', '/limits')).json as { limits: Record<string, number> }
  assert.deepEqual([limits['trackedIps'], relay.admin.viewers.live.current.limits.trackedIps, relay.admin.region.current], [13, 13, 'MENA'])
  assert.deepEqual([await metric(adminUrl, 'icn_relay_config_reload_success'), await metric(adminUrl, 'icn_relay_config_hash')], [1, Number.parseInt(hash, 16)])
  rewrite({})
  await relay.reload()
  assert.deepEqual([(await ask('GET', '/limits')).text, relay.admin.region.current], [before, 'APAC'])
})

test('what is set over the API outlives a restart, shows what it hides, and is dropped', async t => {
  const path = join(await temporaryDirectory(t), 'cache')
  const settings: Settings = { cache: { path, max_bytes: 50_000_000 }, region: { override: 'LATAM' } }
  const first = await start(t, settings)
  assert.equal((await first.ask('PUT', '/limits', { trackedIps: 1_234 })).status, 200)
  assert.equal((await first.ask('PUT', '/bandwidth', { totalBps: 5_000_000 })).status, 200)
  assert.equal((await first.ask('PATCH', '/cache', { maxBytes: 30_000_000 })).status, 200)
  assert.equal((await first.ask('PUT', '/region', { override: null })).status, 200)
  assertProblem(await first.ask('PATCH', '/cache', { maxBytes: 1 }).then(({ status, headers, text }) => ({ status, headers, body: Buffer.from(text) })), 'RELAY_ERR_BAD_REQUEST')
  await first.relay.close()
  const { ask, relay, lines } = await start(t, settings)
  const { admin } = relay
  const inForce = (): unknown[] => [admin.limits.numbers.trackedIps, admin.bandwidth.keeper.limits.totalBps, admin.shardCache.disk.configuredBytes, admin.region.current]
  assert.deepEqual(inForce(), [1_234, 5_000_000, 30_000_000, 'APAC'])
  assert.ok(lines.some(line => line.includes('"msg":"set over the admin API"') && line.includes('"key":"cache.max_bytes"')))
  const { keys } = (await ask('GET', '/config')).json as { keys: Record<string, unknown> }
  assert.deepEqual([keys['cache.max_bytes'], keys['region.override']], [
    { value: 30_000_000, source: 'api', live: true, configured: { value: 50_000_000, source: 'file' } },
    { value: '', source: 'api', live: true, configured: { value: 'LATAM', source: 'file' } }
  ])
  assert.equal((await ask('DELETE', '/config/overrides/region.override')).status, 200)
  assert.equal((await ask('DELETE', '/config/overrides/region.override')).status, 404)
  assert.deepEqual(inForce(), [1_234, 5_000_000, 30_000_000, 'LATAM'])
  assert.equal((await ask('DELETE', '/config/overrides')).status, 200)
  assert.deepEqual(inForce(), [admin.liveConfig.config.limits.tracked_ips, 0, 50_000_000, 'LATAM'])
})

test('admin tokens: a file that is replaced counts with a reload and by itself; names are in the log of what is written', async t => {
  const file = join(await temporaryDirectory(t), 'token')
  const tokens = ['the-first-admin-token', 'the-second-admin-token', 'the-third-admin-token'] as const
  await writeFile(file, `${tokens[0]}\n`)
  const { ask, relay, lines } = await start(t, { admin: { tokens: [{ token_file: file, scope: 'write', name: 'ops' }, { token: 'another-admin-token', scope: 'write' }] } })
  const statuses = async (): Promise<number[]> => await Promise.all(tokens.map(async token => (await ask('GET', '/limits', undefined, token)).status))
  assert.deepEqual(await statuses(), [200, 401, 401])
  await writeFile(file, tokens[1])
  await relay.reload()
  assert.deepEqual(await statuses(), [401, 200, 401])
  await writeFile(file, 'short')
  await assert.rejects(relay.admin.liveConfig.refresh(), { code: 'RELAY_ERR_CONFIG_REFUSED', message: /token_file .* must hold one token/ })
  assert.deepEqual(await statuses(), [401, 200, 401])
  await writeFile(file, tokens[2])
  await relay.admin.liveConfig.refresh()
  assert.deepEqual(await statuses(), [401, 401, 200])
  assert.equal((await ask('PUT', '/limits', { trackedIps: 99 }, tokens[2])).status, 200)
  assert.equal((await ask('PUT', '/limits', { trackedIps: 98 }, 'another-admin-token')).status, 200)
  const written = await until(async () => lines.filter(line => line.includes('"msg":"admin write"')), found => found.length === 2)
  assert.deepEqual(written.map(line => (JSON.parse(line) as { by: string }).by), ['ops', 'token-2'])
  assert.doesNotMatch(lines.join(''), /-admin-token/)
})
