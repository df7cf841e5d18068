import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { request } from 'undici'
import { until } from '../../tools/harness/http.ts'
import { startRelay } from '../../tools/harness/relay.ts'
import { temporaryDirectory } from '../../tools/harness/temporary-directory.ts'
import { assertProblem } from '../support/problem.ts'

const NODES = [{ url: 'http://127.0.0.1:9', region: 'APAC' }]

test('what is served is counted though the access log samples nothing, told by the admin API, and written at the end', { timeout: 60_000 }, async t => {
  const directory = await temporaryDirectory(t)
  const path = join(directory, 'usage.ndjson')
  const relay = await startRelay(t, NODES, { admin: { loopback_without_token: true }, usage: { enabled: true, path }, access_log: { enabled: false } })
  const usage = async (query: string) => {
    const response = await request(`${relay.adminUrl}/admin/v1/usage${query}`)
    const body = Buffer.from(await response.body.arrayBuffer())
    return { status: response.statusCode, headers: response.headers, body, json: JSON.parse(body.toString()) as { rows: { key: string | null, requests: number, errors: number }[] } }
  }
  for (const cid of ['QmA', 'QmA', 'QmB']) await (await request(`${relay.viewerUrl}/shards/${cid}/shard_0.bin`)).body.dump()
  const { json } = await until(async () => await usage('?by=cid'), ({ json: { rows } }) => rows.reduce((sum, { requests }) => sum + requests, 0) === 3)
  assert.deepEqual(json.rows.map(({ key, requests, errors }) => [key, requests, errors]), [['QmA', 2, 2], ['QmB', 1, 1]])
  assert.deepEqual((await usage('?limit=1')).json.rows.map(({ key }) => key), ['QmA', null])
  assert.deepEqual((await usage('?by=subject')).json.rows.map(({ key, requests }) => [key, requests]), [['', 3]])
  assertProblem(await usage('?hour=previous'), 'RELAY_ERR_NOT_FOUND')
  await relay.relay.close()
  assert.equal((await readFile(path, 'utf8')).trim().split('\n').length, 3)
})
