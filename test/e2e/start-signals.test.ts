/** Ended at any moment of its start, told or killed, alone or as process 1: the relay ends, and the cache is whole afterwards. */
import assert from 'node:assert/strict'
import { join } from 'node:path'
import test, { type TestContext } from 'node:test'
import { request } from 'undici'
import { SERVER, spawnProgram } from '../../tools/harness/processes.ts'
import { temporaryDirectory } from '../../tools/harness/temporary-directory.ts'
import { configFor, endEarly } from '../../tools/harness/start-signals.ts'
import { storeBytes } from '../../tools/harness/store-bytes.ts'
import { openTestCache } from '../support/cache.ts'
import { withoutNamespaces } from '../support/namespaces.ts'

const COUNT = 300
const LIMIT = { timeout: 240_000 }
/** After the process was spawned, and after process 1 has begun to listen, ms. */
const MOMENTS = [0, 100, 200, 300, 450, 600]
const FIRST_MOMENTS = [0, 50, 150, 300, 450]

async function filled (t: TestContext): Promise<string> {
  const path = join(await temporaryDirectory(t), 'cache')
  const opened = await openTestCache(t, path)
  for (let n = 0; n < COUNT; n++) assert.ok(await storeBytes(opened.cache, { cid: `c${n}`, part: 0 }, Buffer.from(`body ${n}`)))
  await opened.close()
  return path
}

/** Nothing was lost, as a cache that is opened next sees it. */
async function assertWhole (t: TestContext, path: string): Promise<void> {
  const opened = await openTestCache(t, path)
  const { restored } = opened
  const { confirmed, orphansRemoved, missingDropped } = await opened.cache.reconciled
  assert.deepEqual({ restored, confirmed, orphansRemoved, missingDropped }, { restored: COUNT, confirmed: COUNT, orphansRemoved: 0, missingDropped: 0 })
  await opened.close()
}

test('SIGTERM, Ctrl-C and SIGKILL at any moment of a start: it ends, and every object is there afterwards', LIMIT, async t => {
  const path = await filled(t)
  const config = await configFor(await temporaryDirectory(t), path)
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGKILL'] as const) {
    for (const afterMs of MOMENTS) {
      const ended = await endEarly(config, { signal, afterMs, first: false })
      // Before its first line the system ends it.
      assert.ok(ended.code === 0 || ended.signal === signal, `${signal} after ${afterMs} ms: ${JSON.stringify(ended)}`)
    }
    await assertWhole(t, path)
  }
})

test('as process 1 too, where nothing ends a process that does not listen', { ...LIMIT, skip: withoutNamespaces([['--pid', '--fork', '--mount-proc', 'true']], 'unshare of util-linux and the right to use it') }, async t => {
  const path = await filled(t)
  const config = await configFor(await temporaryDirectory(t), path)
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    for (const afterMs of FIRST_MOMENTS) {
      const ended = await endEarly(config, { signal, afterMs, first: true })
      assert.equal(ended.code, 0, `${signal} after ${afterMs} ms: ${JSON.stringify(ended)}`)
    }
  }
  await assertWhole(t, path)
})

test('from its first answer to its readiness the admin listener refuses nobody', LIMIT, async t => {
  const relay = spawnProgram(t, SERVER, ['--config', await configFor(await temporaryDirectory(t), await filled(t))])
  const { adminPort } = await relay.waitFor(({ msg }) => msg === 'relay starting')
  const answers: string[] = []
  for (let ready = false; !ready;) {
    const response = await request(`http://127.0.0.1:${String(adminPort)}/ready`)
    const body = await response.body.json() as { ready: boolean, checks: { cache: string } }
    ready = body.ready
    answers.push(`${response.statusCode} ${body.checks.cache}`)
  }
  assert.equal(answers[0], '503 loading')
  assert.match(answers.at(-1) ?? '', /^200 /)
})
