import assert from 'node:assert/strict'
import { readFile, rename } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { request } from 'undici'
import { until } from '../../tools/harness/http.ts'
import { SERVER, spawnProgram, spawnRelay, spawnSuperNode } from '../../tools/harness/processes.ts'
import { temporaryDirectory } from '../../tools/harness/temporary-directory.ts'

const PATH = '/shards/syn-1000-log/shard_0.bin'

test('a rotated access log goes on in a new file at SIGUSR1, which ends nothing; tail shows what happens, and ends when the relay does', { timeout: 240_000 }, async t => {
  const directory = await temporaryDirectory(t)
  const path = join(directory, 'access.log')
  const relay = await spawnRelay(t, [await spawnSuperNode(t, 'NA-WEST')], { transport: { engine: 'off' }, access_log: { path } })
  const urls = async (file: string): Promise<unknown[]> => (await readFile(file, 'utf8').catch(() => '')).split('\n').slice(0, -1).map(line => (JSON.parse(line) as { url: string }).url)
  const get = async (target: string): Promise<void> => { await (await request(relay.viewerUrl + target)).body.dump() }
  const tail = spawnProgram(t, SERVER, ['tail', '--json', '--status', '404', '--config', relay.configFile, '--admin', relay.adminUrl])
  const listeners = async (): Promise<number> => (await (await request(`${relay.adminUrl}/admin/v1/log`)).body.json() as { listeners: number }).listeners
  await until(listeners, count => count === 1)
  await get(PATH)
  await until(async () => await urls(path), all => all.includes(PATH))
  await rename(path, `${path}.1`)
  relay.child.kill('SIGUSR1')
  await until(async () => await readFile(path).catch(() => undefined), file => file !== undefined)
  await get('/nothing')
  assert.equal((await tail.waitFor(event => event['msg'] === 'request'))['url'], '/nothing', 'the shard was not 404')
  await until(async () => await urls(path), all => all.includes('/nothing'))
  assert.ok(!(await urls(`${path}.1`)).includes('/nothing'))
  relay.child.kill('SIGTERM')
  assert.deepEqual([await relay.exit, await tail.exit], [{ code: 0, signal: null }, { code: 0, signal: null }])
  assert.ok(!relay.events.some(event => event['msg'] === 'request'), 'standard output has the log only')
})
