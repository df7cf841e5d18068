import assert from 'node:assert/strict'
import { test } from 'node:test'
import { request } from 'undici'
import { metric } from '../../tools/harness/http.ts'
import { startRelay } from '../../tools/harness/relay.ts'

const NODES = [{ url: 'http://127.0.0.1:9', region: 'APAC' }]
const LOOPBACK = { loopback_without_token: true }

test('viewers of a denied network are answered 403 with a code, on connections that exist too, until a reload lets them in', { timeout: 60_000 }, async t => {
  const admin = { admin: LOOPBACK }
  const relay = await startRelay(t, NODES, admin)
  const ask = async (path: string): Promise<[number, string | undefined, string]> => {
    const response = await request(`${relay.viewerUrl}${path}`)
    const text = await response.body.text()
    const { code } = JSON.parse(text) as { code?: string }
    return [response.statusCode, code, String(response.headers['access-control-allow-origin'])]
  }
  const reload = async (viewer: Record<string, unknown>): Promise<void> => {
    relay.rewrite({ ...admin, viewer })
    await relay.relay.admin.liveConfig.reload()
  }
  assert.equal((await ask('/v1/transport'))[0], 200)
  await reload({ deny_networks: ['127.0.0.0/8'] })
  for (const path of ['/v1/transport', '/shards/QmA/shard_0.bin', '/nothing']) assert.deepEqual(await ask(path), [403, 'RELAY_ERR_VIEWER_NETWORK', '*'], path)
  assert.equal(await metric(relay.adminUrl, 'icn_relay_viewer_refusals_total', '{code="RELAY_ERR_VIEWER_NETWORK"}'), 3)
  assert.equal(await metric(relay.adminUrl, 'icn_relay_viewer_networks', '{list="deny"}'), 1)
  await reload({ allow_networks: ['127.0.0.1'] })
  assert.equal((await ask('/v1/transport'))[0], 200)
  await reload({ allow_networks: ['2001:db8::/32'] })
  assert.equal((await ask('/v1/transport'))[0], 403)
  await assert.rejects(reload({ allow_networks: ['10.0.0.0/33'] }), { code: 'RELAY_ERR_CONFIG_REFUSED' })
  assert.equal((await ask('/v1/transport'))[0], 403)
})
