import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import fc from 'fast-check'
import { eventsOf, recordText, tailLog } from '../../../src/cli/commands/tail.ts'
import { jsonOf } from '../../../src/plugins/access-log/json-line.ts'
import { ACCESS_RECORD } from '../../support/access-record.ts'

async function * pieces (...texts: string[]): AsyncGenerator<string> { yield * texts }

async function tail (json: boolean, ...texts: string[]): Promise<string[]> {
  const lines: string[] = []
  await tailLog(pieces(...texts), json, async line => { lines.push(line) })
  return lines
}

const LINE = jsonOf(ACCESS_RECORD, '192.0.2.1')

suite('icn-relay tail', () => {
  test('prints a line for each response, and how many are missing', async () => {
    const events = [':\n\n', `id: 1\nevent: request\ndata: ${LINE}\n\n`, 'id: 2\nevent: lost\ndata: {"records":3}\n\n', `id: 3\nevent: request\ndata: ${jsonOf({ ...ACCESS_RECORD, kind: 'miss', complete: false, cache: 'fwd=uri-miss' }, 'a')}\n\n`]
    assert.deepEqual(await tail(false, ...events), [
      '09:00:00.007  206  GET  /shards/QmA/shard_3.bin  bytes=0-999  1000 B  4.57 ms  hit  http  192.0.2.1  192.0.2.9:9002  alice  RELAY_ERR_INTERNAL\n',
      '… 3 more were not read in time\n',
      '09:00:00.007  206  GET  /shards/QmA/shard_3.bin  bytes=0-999  1000 B  4.57 ms  fwd=uri-miss  http  a  192.0.2.9:9002  alice  RELAY_ERR_INTERNAL  broken off\n'
    ])
    assert.deepEqual((await tail(true, ...events)).slice(0, 2), [`${LINE}\n`, '{"msg":"lost","records":3}\n'])
  })

  test('events come in pieces of any size', async () => {
    const text = Array.from({ length: 5 }, (_, n) => `${n === 2 ? ':\n\n' : ''}id: ${n}\nevent: request\ndata: {"n":${n}}\n\n`).join('')
    await fc.assert(fc.asyncProperty(fc.array(fc.nat(text.length), { maxLength: 12 }), async cuts => {
      const places = [0, ...cuts.toSorted((a, b) => a - b), text.length]
      const got: string[] = []
      for await (const { data } of eventsOf(pieces(...places.slice(1).map((end, at) => text.slice(places[at], end))))) got.push(data)
      assert.deepEqual(got, [0, 1, 2, 3, 4].map(n => `{"n":${n}}`))
    }), { numRuns: 30 })
  })

  test('what a viewer has sent can do nothing to the terminal', () => {
    assert.match(recordText({ url: '/\u001B[2J\u009B"', method: 'GET', code: { toString: 'x' }, time: 5 }), /^[ -~]*$/)
  })

  test('what is no relay is named', async () => {
    await assert.rejects(tail(false, 'event: request\ndata: nothing\n\n'), { code: 'RELAY_ERR_CONFIG' })
    await assert.rejects(tail(false, 'x'.repeat(70_000)), { code: 'RELAY_ERR_CONFIG' })
  })
})
