import assert from 'node:assert/strict'
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { suite, test, type TestContext } from 'node:test'
import { request } from 'undici'
import { startSuperNode } from '../../demo/super-node/server.ts'
import dashboardPlugin from '../../src/plugins/dashboard/index.ts'
import { createInstance } from '../../src/plugins/http/instance.ts'
import { createLogger } from '../../src/base/log.ts'
import { defaultConfig } from '../../src/config/config.ts'
import { cacheStats, fetchHashed, until } from '../../tools/harness/http.ts'
import { startRelay } from '../../tools/harness/relay.ts'
import { temporaryDirectory } from '../../tools/harness/temporary-directory.ts'
import { assertProblem } from '../support/problem.ts'

suite('the page of the dashboard', () => {
  /** The listener with a page of three files. */
  async function serve (t: TestContext, { dashboard = true, built = true } = {}) {
    const page = await temporaryDirectory(t)
    await writeFile(join(page, 'secret.txt'), 'not for anybody')
    if (built) {
      await mkdir(join(page, 'assets'))
      await writeFile(join(page, 'index.html'), '<!doctype html>')
      await writeFile(join(page, 'assets/app-ABCDEFGH.js'), 'export {}')
    }
    const app = createInstance({ logger: createLogger('silent'), listener: 'admin', requestTimeoutMs: 1_000, idleTimeoutMs: 1_000, maxConnections: 10, bodyLimit: 1_024 })
    const config = defaultConfig()
    await app.register(dashboardPlugin, { config: { admin: { ...config.admin, dashboard } }, page })
    t.after(async () => { await app.close() })
    return app
  }

  test('is asked for each time, and its assets once; all of it may do little', async t => {
    const app = await serve(t)
    for (const [path, type, caching] of [['/', 'text/html', 'no-cache'], ['/index.html', 'text/html', 'no-cache'], ['/assets/app-ABCDEFGH.js', 'application/javascript', 'public, max-age=31536000, immutable']] as const) {
      const { statusCode, headers, body } = await app.inject({ url: path })
      assert.deepEqual([statusCode, String(headers['content-type']).split(';')[0], headers['cache-control'], body.length > 0], [200, type, caching, true], path)
      const policy = String(headers['content-security-policy']).split('; ')
      for (const rule of ["default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'none'", "require-trusted-types-for 'script'"]) assert.ok(policy.includes(rule), rule)
      assert.doesNotMatch(policy.join(), /unsafe|\*|data:|https?:/)
      assert.deepEqual([headers['x-content-type-options'], headers['referrer-policy'], headers['cross-origin-opener-policy'], headers['set-cookie']], ['nosniff', 'no-referrer', 'same-origin', undefined])
      // Files of another version may have the same time and length, so the page itself has no validator.
      const again = await app.inject({ url: path, headers: { 'if-none-match': String(headers['etag'] ?? 'W/"f-1"'), 'if-modified-since': 'Fri, 01 Jan 2100 00:00:00 GMT' } })
      assert.deepEqual([again.statusCode, again.headers['cache-control'], again.headers['etag'] === undefined, again.headers['last-modified'] === undefined], caching === 'no-cache' ? [200, caching, true, true] : [304, caching, false, false], path)
      assert.equal((await app.inject({ url: path, method: 'HEAD' })).statusCode, 200)
    }
  })

  test('nothing else of its folder, or of others, is served', async t => {
    const app = await serve(t)
    for (const path of ['/secret.txt', '/assets/none.js', '/assets/', '/assets/..%2fsecret.txt', '/assets/..%2f..%2f..%2fetc%2fpasswd', '/assets/../secret.txt', '/assets/%00', '/assets/app-ABCDEFGH.js/x']) {
      const { statusCode, headers, body } = await app.inject({ url: path })
      assert.deepEqual([statusCode === 404 || statusCode === 400, String(headers['content-type']), body.includes('not for')], [true, 'application/problem+json', false], path)
    }
  })

  test('is not there when it is switched off, and 404 when it is not built', async t => {
    for (const app of [await serve(t, { dashboard: false }), await serve(t, { built: false })]) {
      const { statusCode, headers } = await app.inject({ url: '/' })
      assert.deepEqual([statusCode, headers['content-type'], headers['cache-control'] ?? 'no-store'], [404, 'application/problem+json', 'no-store'])
    }
  })
})

interface Answer {
  readonly version: string
  readonly startedAt: number
  readonly uptimeSeconds: number
  readonly readiness: { readonly ready: boolean, readonly checks: { readonly viewer: string } }
  readonly superNodes: readonly { readonly id: string, readonly state: string }[]
  readonly viewers: Readonly<Record<string, number>>
  readonly certificate: { readonly source: string, readonly notAfter: number }
  readonly config: { readonly reload: { readonly success: boolean, readonly problem: string | null } }
  readonly denylist: { readonly entries: number }
  readonly gateway: unknown
  readonly totals: { readonly sentBytes: Readonly<Record<string, number>>, readonly receivedBytes: Readonly<Record<string, number>>, readonly hits: Readonly<Record<string, number>>, readonly misses: number, readonly failures: Readonly<Record<string, number>> }
  readonly firstByte: { readonly bounds: readonly number[], readonly hits: readonly number[], readonly misses: readonly number[] }
}

suite('GET /admin/v1/summary', () => {
  test('has the state of the relay, and totals that grow with what viewers ask for', async t => {
    const origin = await startSuperNode({ port: 0 })
    t.after(async () => { await origin.close() })
    const { adminUrl, viewerUrl } = await startRelay(t, [{ url: origin.url, region: origin.region }], { admin: { loopback_without_token: true, requests_per_minute: 100_000 } })
    const ask = async (): Promise<Answer> => await (await request(`${adminUrl}/admin/v1/summary`)).body.json() as Answer
    const before = await ask()
    assert.deepEqual([before.readiness.ready, before.superNodes.length, before.certificate.source, before.config.reload.success, before.denylist.entries, before.gateway, before.totals.misses], [true, 1, 'self-signed', true, 0, null, 0])
    const id = new URL(origin.url).host
    assert.equal(before.superNodes[0]?.id, id)
    await fetchHashed(`${viewerUrl}/shards/syn-1000-summary/shard_0.bin`)
    await until(ask, ({ totals: { receivedBytes } }) => receivedBytes[id] === 1_000)
    await until(async () => await cacheStats(adminUrl), ({ disk: { entries }, fills }) => entries === 1 && fills === 0)
    await fetchHashed(`${viewerUrl}/shards/syn-1000-summary/shard_0.bin`)
    await fetchHashed(`${viewerUrl}/shards/none-such/shard_0.bin`)
    const after = await until(ask, ({ totals: { sentBytes, failures }, firstByte: { hits } }) => sentBytes['http'] === 2_000 && hits.at(-1) === 1 && Object.keys(failures).length === 1)
    assert.deepEqual([Object.values(after.totals.hits), after.totals.misses, after.totals.failures], [[1], 1, { RELAY_ERR_SHARD_NOT_FOUND: 1 }])
    assert.deepEqual([after.firstByte.hits.length, after.firstByte.misses.at(-1)], [after.firstByte.bounds.length + 1, 1])
    for (const [place, count] of after.firstByte.misses.entries()) assert.ok(count >= (after.firstByte.misses[place - 1] ?? 0), 'each with those of the smaller bounds')
    assert.equal(after.startedAt, before.startedAt)
    assert.ok(after.uptimeSeconds > before.uptimeSeconds)
  })

  test('says what speaks against the relay, and wants a token as everything does', async t => {
    const token = 'reader-reader-reader'
    const running = await startRelay(t, [{ url: 'http://127.0.0.1:9', region: 'APAC' }], { admin: { tokens: [{ token, scope: 'read' }] } })
    const { adminUrl } = running
    const ask = async (headers: Record<string, string>): ReturnType<typeof request> => await request(`${adminUrl}/admin/v1/summary`, { headers })
    const { statusCode: status, headers, body } = await ask({})
    assertProblem({ status, headers, body: Buffer.from(await body.arrayBuffer()) }, 'RELAY_ERR_ADMIN_UNAUTHORIZED')
    running.relay.admin.viewers.live.update({ drain: { deadlineMs: 1_000, alternates: [] } })
    const { readiness } = await (await ask({ authorization: `Bearer ${token}` })).body.json() as Answer
    assert.deepEqual([readiness.ready, readiness.checks.viewer], [false, 'draining'])
    // The page itself is for everybody who reaches the listener: with what was built, or a 404 that no token changes.
    const page = await request(`${adminUrl}/`)
    await page.body.dump()
    assert.ok(page.statusCode === 200 || page.statusCode === 404)
  })

  test('is a scrape for the access log: nobody wants a line a second of it', async t => {
    const lines: string[] = []
    const { adminUrl } = await startRelay(t, [{ url: 'http://127.0.0.1:9', region: 'APAC' }], { admin: { loopback_without_token: true }, access_log: { enabled: true } }, { output: line => { lines.push(line) } })
    for (const path of ['/admin/v1/summary', '/admin/v1/cache']) await (await request(`${adminUrl}${path}`)).body.dump()
    await until(async () => lines.length, count => count > 0)
    assert.deepEqual(lines.map(line => (JSON.parse(line) as { url: string }).url), ['/admin/v1/cache'])
  })
})
