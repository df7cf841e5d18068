import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import fc from 'fast-check'
import { keyId, type ShardKey } from '../../../../src/protocol/shard-key.ts'
import { OBJECTS, wantedVideo, WarmList, type WarmOutcome } from '../../../../src/plugins/warm/warm-list.ts'

const parts = fc.uniqueArray(fc.oneof(fc.nat(13), fc.constant('manifest' as const)), { minLength: 1, maxLength: OBJECTS })
const videos = fc.uniqueArray(fc.record({ cid: fc.stringMatching(/^[A-Za-z0-9_-]{1,4}$/), parts }), { selector: ({ cid }) => cid, minLength: 1, maxLength: 6 })
const steps = fc.array(fc.oneof(
  fc.constant('take' as const), fc.constant('back' as const), fc.constant('retry' as const), fc.constant('crash' as const),
  fc.constantFrom<WarmOutcome>('fetched', 'present', 'failed')
), { maxLength: 200 })

suite('the list of what a job brings in', () => {
  test('in whatever order objects come, fail, are put back and tried again, and whenever it crashes, none is lost and none is brought in twice', () => {
    fc.assert(fc.property(videos, steps, fc.infiniteStream(fc.nat()), (wanted, operations, choice) => {
      let list = new WarmList(wanted.map(video => wantedVideo(video.cid, video.parts)))
      const all = new Set(wanted.flatMap(video => video.parts.map(part => keyId({ cid: video.cid, part }))))
      const under: ShardKey[] = []
      const fates = new Map<string, WarmOutcome>()
      const some = (): ShardKey | undefined => under.splice(Number(choice.next().value) % (under.length + 1), 1)[0]
      const check = (): void => {
        const of = (outcome: WarmOutcome): number => [...fates.values()].filter(fate => fate === outcome).length
        assert.deepEqual(list.counts, { total: all.size, pending: all.size - fates.size, fetched: of('fetched'), present: of('present'), failed: of('failed') })
        assert.deepEqual([list.videos, list.taken], [wanted.length, under.length])
      }
      for (const operation of operations) {
        if (operation === 'take') {
          const key = list.take()
          if (key === undefined) assert.equal(fates.size + under.length, all.size)
          else {
            assert.ok(all.has(keyId(key)) && !fates.has(keyId(key)) && !under.some(other => keyId(other) === keyId(key)))
            under.push(key)
          }
        } else if (operation === 'retry') {
          const failed = [...fates].filter(([, fate]) => fate === 'failed')
          assert.equal(list.retry(), failed.length)
          for (const [id] of failed) fates.delete(id)
        } else if (operation === 'crash') {
          list = new WarmList(list.snapshot(), list.through)
          under.splice(0)
        } else {
          const key = some()
          if (key === undefined) continue
          if (operation === 'back') list.putBack(key)
          else {
            list.settle(key, operation)
            fates.set(keyId(key), operation)
          }
        }
        check()
      }
      // To its end: each comes once.
      for (const key of under.splice(0)) list.putBack(key)
      for (let key = list.take(); key !== undefined; key = list.take()) {
        assert.ok(!fates.has(keyId(key)))
        list.settle(key, 'fetched')
        fates.set(keyId(key), 'fetched')
      }
      check()
      assert.equal(list.counts.pending, 0)
    }), { numRuns: 200 })
  })

  test('the manifest of a video comes first, and what is put back comes last', () => {
    const list = new WarmList([wantedVideo('QmA', [1, 0, 'manifest']), wantedVideo('QmB', [3])])
    const first = list.take() ?? assert.fail()
    list.putBack(first)
    assert.deepEqual([first, list.take(), list.take(), list.take(), list.take(), list.take()].map(key => key === undefined ? undefined : keyId(key)), ['QmA/manifest', 'QmA/0', 'QmA/1', 'QmB/3', 'QmA/manifest', undefined])
  })

  test('what was not taken cannot be settled, and what is no video is refused', () => {
    const list = new WarmList([wantedVideo('QmA', [0])])
    for (const key of [{ cid: 'QmA', part: 0 }, { cid: 'QmB', part: 0 }]) {
      assert.throws(() => { list.settle(key, 'fetched') }, /was not taken/)
      assert.throws(() => { list.putBack(key) }, /was not taken/)
    }
    for (const parts of ['', '.'.repeat(14), `${'.'.repeat(14)}?`]) assert.throws(() => new WarmList([{ cid: 'QmA', parts }]), RangeError)
    assert.throws(() => new WarmList([wantedVideo('QmA', [0]), wantedVideo('QmA', [1])]), RangeError)
  })
})
