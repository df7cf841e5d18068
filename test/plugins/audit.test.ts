import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { request } from 'undici'
import type { AuditRecord } from '../../src/plugins/audit/audit-log.ts'
import { metric, until } from '../../tools/harness/http.ts'
import { startRelay } from '../../tools/harness/relay.ts'
import { temporaryDirectory } from '../../tools/harness/temporary-directory.ts'

const TOKENS = [{ token: 'a-token-that-writes', scope: 'write', name: 'alice' }, { token: 'a-token-that-reads', scope: 'read' }]

test('who changed what is told, refused ones too, is in the file, and outlives a restart; what is read is not', async t => {
  const path = join(await temporaryDirectory(t), 'cache')
  const settings = { admin: { tokens: TOKENS }, cache: { path } }
  const { relay, adminUrl } = await startRelay(t, [{ url: 'http://127.0.0.1:9', region: 'APAC' }], settings)
  const ask = async (method: 'GET' | 'PUT' | 'DELETE', target: string, token: string, body?: unknown): Promise<number> => {
    const response = await request(`${adminUrl}/admin/v1${target}`, { method, headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json', 'x-request-id': 'change-1' }, ...body === undefined ? {} : { body: JSON.stringify(body) } })
    await response.body.dump()
    return response.statusCode
  }
  const records = async (url: string, query = ''): Promise<AuditRecord[]> => {
    const { body } = await request(`${url}/admin/v1/audit${query}`, { headers: { authorization: 'Bearer a-token-that-reads' } })
    return (await body.json() as { records: AuditRecord[] }).records
  }
  assert.equal(await ask('PUT', '/limits', 'a-token-that-writes', { trackedIps: 77 }), 200)
  assert.equal(await ask('PUT', '/limits', 'a-token-that-reads', { trackedIps: 78 }), 403)
  assert.equal(await ask('PUT', '/limits', 'a-token-that-writes', { trackedIps: -1 }), 400)
  assert.equal(await ask('GET', '/limits', 'a-token-that-reads'), 200)
  const found = await until(async () => await records(adminUrl), list => list.length === 4)
  assert.deepEqual(found.map(({ action, by, status, target, asked }) => [action, by, status, target, asked]).toReversed(), [
    ['configChanged', null, null, 'limits.tracked_ips', undefined],
    ['changeLimits', 'alice', 200, '/admin/v1/limits', { trackedIps: 77 }],
    // A body is not read before the token is judged.
    ['changeLimits', null, 403, '/admin/v1/limits', undefined],
    ['changeLimits', 'alice', 400, '/admin/v1/limits', { trackedIps: -1 }]
  ])
  const changed = found.find(({ action }) => action === 'configChanged')
  assert.deepEqual([changed?.before, changed?.after], [relay.admin.liveConfig.report()['limits.tracked_ips']?.configured?.value, 77])
  assert.deepEqual([found[0]?.address, found[0]?.id], ['127.0.0.1', 'change-1'])
  assert.deepEqual((await records(adminUrl, '?by=alice&limit=1')).map(({ status }) => status), [400])
  assert.equal(await metric(adminUrl, 'icn_relay_audit_records_total'), 4)
  await relay.close()
  const text = await readFile(join(path, 'audit-log.ndjson'), 'utf8')
  assert.equal(text.trim().split('\n').length, 4)
  assert.ok(!text.includes('a-token'), 'no secret')
  const again = await startRelay(t, [{ url: 'http://127.0.0.1:9', region: 'APAC' }], settings)
  assert.deepEqual((await records(again.adminUrl)).slice(0, 4), found)
})
