import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import fc from 'fast-check'
import { preferSiblings, rendezvous, type Sibling } from '../../../../src/plugins/upstream/rendezvous.ts'
import { TOTAL_SHARDS, type ShardKey } from '../../../../src/protocol/shard-key.ts'

const relay = (n: number): Sibling => ({ url: `http://relay-${n}.example:9003`, region: 'EU-WEST' })
const relays = (count: number): Sibling[] => Array.from({ length: count }, (_, n) => relay(n))
const keys = (count: number): ShardKey[] => Array.from({ length: count }, (_, n) => ({ cid: `cid-${Math.floor(n / TOTAL_SHARDS)}`, part: n % TOTAL_SHARDS }))

/** URL of the owner, by what the relay `self` computes. */
function owner (key: ShardKey, siblings: readonly Sibling[], self: string): string {
  return rendezvous(siblings, self)(key)?.url ?? self
}

const group = fc.integer({ min: 1, max: 12 })
const keyOf = fc.record({ cid: fc.stringMatching(/^[A-Za-z0-9_-]{1,20}$/), part: fc.oneof(fc.integer({ min: 0, max: 13 }), fc.constant('manifest' as const)) })

suite('the sibling of a key', () => {
  test('all relays of a tier name the same one, whatever the order and the spelling of their lists', () => {
    fc.assert(fc.property(group.chain(count => fc.tuple(fc.constant(count), fc.shuffledSubarray(relays(count), { minLength: count }))), keyOf, ([count, shuffled], key) => {
      const owners = new Set(relays(count).map(({ url }) => owner(key, shuffled, url)))
      assert.equal(owners.size, 1)
      const [self = relay(0)] = shuffled
      const others = shuffled.slice(1).map(({ url, region }) => ({ url: `${url.toUpperCase().replace('HTTP', 'http')}/`, region }))
      assert.equal(new URL(owner(key, others, `${self.url}/`)).origin, [...owners][0])
    }))
  })

  test('without one relay only its keys move; with one more, keys move to it only', () => {
    fc.assert(fc.property(fc.integer({ min: 2, max: 12 }), fc.nat(), keyOf, (count, pick, key) => {
      const all = relays(count)
      const gone = relay(pick % count).url
      const rest = all.filter(({ url }) => url !== gone)
      const self = rest[0]?.url ?? ''
      const [before, after] = [owner(key, all, self), owner(key, rest, self)]
      if (before !== gone) assert.equal(after, before)
      assert.notEqual(after, gone)
    }), { numRuns: 1_000 })
  })

  test('keys are spread evenly: within a tenth of the mean over 14,000 keys', t => {
    for (const count of [2, 5, 10]) {
      const counts = new Map<string, number>()
      for (const key of keys(14_000)) {
        const url = owner(key, relays(count), relay(0).url)
        counts.set(url, (counts.get(url) ?? 0) + 1)
      }
      const mean = 14_000 / count
      const worst = Math.max(...[...counts.values()].map(value => Math.abs(value - mean) / mean))
      t.diagnostic(`${count} relays: worst deviation ${(worst * 100).toFixed(1)} %`)
      assert.equal(counts.size, count)
      assert.ok(worst < 0.1, `${count} relays: ${worst}`)
    }
  })
})

suite('whom to ask first', () => {
  const preferred = preferSiblings({ siblings: relays(4), self: relay(0).url })

  test('the sibling of the key, for viewers; nobody when it is ours', () => {
    for (const key of keys(100)) {
      const sibling = rendezvous(relays(4), relay(0).url)(key)
      assert.deepEqual(preferred(key, ['1.1 nginx']), sibling === undefined ? [] : [{ ...sibling, role: 'relay' }])
    }
  })

  test('nobody for a request of a relay: a key crosses the tier once at most', () => {
    for (const key of keys(100)) assert.deepEqual(preferred(key, ['1.1 icn-relay-b']), [])
  })

  test('nobody without siblings, or while our own URL is not known', () => {
    for (const options of [{ siblings: [], self: relay(0).url }, { siblings: relays(4), self: '' }]) {
      assert.deepEqual(preferSiblings(options)({ cid: 'a', part: 0 }, []), [])
    }
  })
})
