/** Paths on which large UDP packets are dropped without a word: which way our client goes on them, and whether what comes is right. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { suite, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { NFT_NEEDS, withoutNamespaces } from '../support/namespaces.ts'
import type { NarrowResult, Visit } from '../support/narrow-lab.ts'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
/** The client's own default. */
const CONNECT_TIMEOUT_MS = 3_000

const skip = withoutNamespaces([['--net', 'ip', 'link', 'set', 'lo', 'up', 'gso_max_segs', '1'], ['--net', 'nft', 'list', 'ruleset']], NFT_NEEDS)

suite('a path that drops large UDP packets', { skip, concurrency: false }, () => {
  const results = new Map<number, NarrowResult>()

  const assertRight = (visit: Visit): void => {
    assert.deepEqual(visit.shards.map(({ right }) => right), [true, true, true, true, true])
  }

  test('is tried', async () => {
    const { stdout } = await promisify(execFile)('unshare', ['--net', process.execPath, '--import', 'tsx', `${ROOT}/test/support/narrow-lab.ts`], { cwd: ROOT })
    for (const line of stdout.trim().split('\n')) {
      const result = JSON.parse(line) as NarrowResult
      results.set(result.largest, result)
    }
    assert.deepEqual([...results.keys()], [1_200, 1_280, 1_400])
  })

  for (const largest of [1_280, 1_400]) {
    test(`${largest} bytes: WebTransport connects and delivers every shard`, () => {
      const { visits, dropped } = results.get(largest) ?? assert.fail()
      assert.equal(visits.length, 2)
      for (const visit of visits) {
        assertRight(visit)
        assert.deepEqual([visit.first.transport, ...visit.shards.map(({ transport, attempts }) => `${transport} ${attempts}`)], ['webtransport', ...Array.from({ length: 5 }, () => 'webtransport 1')])
        assert.deepEqual(visit.first.failures, [])
      }
      assert.ok((dropped['to_relay'] ?? 0) > 0 && (dropped['to_viewer'] ?? 0) > 0, JSON.stringify(dropped))
    })
  }

  test('1,200 bytes, too small for QUIC: every shard comes another way, and the next visit goes that way directly', t => {
    const { visits: [first, second], dropped } = results.get(1_200) ?? assert.fail()
    assert.ok(first !== undefined && second !== undefined)
    for (const visit of [first, second]) {
      assertRight(visit)
      assert.deepEqual([visit.first.transport, visit.last.transport, ...visit.shards.map(({ transport }) => transport)], Array.from({ length: 7 }, () => 'websocket'))
      assert.deepEqual(visit.first.failures, [{ transport: 'webtransport', reason: `no answer within ${CONNECT_TIMEOUT_MS} ms` }])
    }
    t.diagnostic(`connected after ${Math.round(first.connectMs)} ms, the next time after ${Math.round(second.connectMs)} ms`)
    // What both have to do is the same, but for the time in which nothing answers.
    assert.ok(second.connectMs < first.connectMs, `${second.connectMs} ms, after ${first.connectMs} ms`)
    assert.ok((dropped['to_relay'] ?? 0) > 0, JSON.stringify(dropped))
  })
})
