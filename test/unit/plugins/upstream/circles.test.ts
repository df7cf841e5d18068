import assert from 'node:assert/strict'
import { Readable } from 'node:stream'
import { suite, test } from 'node:test'
import fc from 'fast-check'
import { systemClock } from '../../../../src/base/clock.ts'
import { deferred } from '../../../../src/base/deferred.ts'
import { RelayError } from '../../../../src/base/errors.ts'
import { MemoryBudget } from '../../../../src/plugins/shard-cache/memory-budget.ts'
import type { ShardCache } from '../../../../src/plugins/shard-cache/shard-cache.ts'
import { Spool } from '../../../../src/plugins/shard-cache/spool.ts'
import { WindowBudget } from '../../../../src/plugins/shard-cache/write-window.ts'
import { ShardService } from '../../../../src/plugins/shards/shard-service.ts'
import { Circles, MAX_QUESTIONS } from '../../../../src/plugins/upstream/circles.ts'
import { refuseLoop } from '../../../../src/plugins/upstream/tiers.ts'
import type { AskedNodes, UpstreamFetchOptions, UpstreamObject } from '../../../../src/plugins/upstream/upstream-types.ts'
import type { ShardKey } from '../../../../src/protocol/shard-key.ts'
import type { CacheObserver } from '../../../../src/storage/disk-files.ts'
import { MeasuredDisk } from '../../../../src/storage/disk-files.ts'
import { faultyFs } from '../../../fakes/faulty-fs.ts'

const FIELDS = { via: '1.1 icn-relay-b, 1.1 icn-relay-a' }

suite('asking what a fetch waits for', () => {
  test('a node that may be a relay is asked by the way of the request; one that answers 508 leads back', async () => {
    const asked: unknown[] = []
    const node = (name: string, mayBeRelay: boolean, back: boolean | Error) => ({
      name,
      mayBeRelay,
      leadsBack: async (path: string, fields: object) => {
        asked.push([name, path, fields])
        if (back instanceof Error) throw back
        return back
      }
    })
    const circles = new Circles()
    const [origin, broken, other, circle] = [node('origin', false, true), node('broken', true, new Error('refused')), node('other', true, false), node('circle', true, true)]
    assert.equal(await circles.find([origin, broken, other], '/x', FIELDS), undefined)
    assert.equal(await circles.find([origin, broken, other, circle], '/x', FIELDS), circle)
    assert.deepEqual(asked.slice(0, 2), [['broken', '/x', FIELDS], ['other', '/x', FIELDS]])
    assert.equal(await circles.find([], '/x', FIELDS), undefined)
    assert.equal(circles.questions, 0)
  })

  test('no more questions than the bound are under way, and a place comes free with each answer', async () => {
    const circles = new Circles()
    const answers: ReturnType<typeof deferred<boolean>>[] = []
    const node = { mayBeRelay: true, leadsBack: async () => await (answers[answers.push(deferred<boolean>()) - 1] ?? deferred<boolean>()).promise }
    const first = Array.from({ length: MAX_QUESTIONS + 10 }, async () => await circles.find([node], '/x', FIELDS))
    assert.deepEqual([circles.questions, answers.length], [MAX_QUESTIONS, MAX_QUESTIONS])
    assert.deepEqual(await Promise.all(first.slice(MAX_QUESTIONS)), Array(10).fill(undefined))
    answers[0]?.resolve(true)
    assert.equal(await first[0], node)
    assert.equal(circles.questions, MAX_QUESTIONS - 1)
    for (const answer of answers) answer.resolve(false)
    assert.deepEqual(await Promise.all(first.slice(1)), Array(MAX_QUESTIONS + 9).fill(undefined))
    assert.equal(circles.questions, 0)
  })
})

const KEY: ShardKey = { cid: 'circle', part: 0 }
const BODY = Buffer.from('the object')
const OBSERVER: CacheObserver = { diskIo: () => {}, diskError: () => {}, removed: () => {}, stored: () => {}, storeBypassed: () => {} }

/** Bodies pass through and nothing is kept, so that every request is a miss. */
function noCache (): ShardCache {
  const disk = new MeasuredDisk(faultyFs().fs, OBSERVER, systemClock.monotonic)
  const memory = new MemoryBudget(1_000_000)
  const stub = {
    open: async () => undefined,
    has: () => false,
    freshness: { lifetimeOf: () => undefined },
    createSpool: async (_key: ShardKey, capacity: number) => ({
      spool: new Spool({ capacity, disk, memory, windows: new WindowBudget(), file: undefined, grows: false, roomFor: () => true, makeRoom: async () => false, onDiskError: () => {}, onClosed: async () => {} }),
      commit: async () => false,
      path: () => undefined,
      forbidStore: () => {}
    })
  }
  return stub as unknown as ShardCache
}

interface Place {
  /** @throws RelayError RELAY_ERR_LOOP */
  ask (via: readonly string[]): Promise<Buffer>
  /** Whether a request by that way goes in circles; fetches nothing. */
  question (via: readonly string[]): Promise<boolean>
}

/** Relays that have each other, and perhaps an origin, as super-nodes; every message takes its own number of turns. */
class Network {
  /** Messages on their way. */
  travelling = 0
  readonly #delays: readonly number[]
  #sent = 0

  /** @param delays turns of the event loop for the messages in their order, over and over */
  constructor (delays: readonly number[]) {
    this.#delays = delays
  }

  async travel (): Promise<void> {
    this.travelling++
    for (let turns = this.#delays[this.#sent++ % this.#delays.length] ?? 0; turns >= 0; turns--) await new Promise(resolve => { setImmediate(resolve) })
    this.travelling--
  }

  async thereAndBack<T> (ask: () => Promise<T>): Promise<T> {
    await this.travel()
    try {
      return await ask()
    } finally {
      await this.travel()
    }
  }

  readonly origin: Place = { ask: async () => BODY, question: async () => false }

  /** @param superNodes read when they are needed: relays may name relays that are not there yet */
  relay (name: string, superNodes: () => readonly Place[]): Place {
    const pseudonym = `icn-relay-${name}`
    const tier = { pseudonym, maxHops: 16 }
    const fetch = async (_key: ShardKey, signal: AbortSignal, { via = [], asked }: UpstreamFetchOptions = {}): Promise<UpstreamObject> => {
      for (const place of superNodes()) {
        const node = place as unknown as AskedNodes extends Set<infer N> ? N : never
        asked?.add(node)
        try {
          const body = await this.thereAndBack(async () => await place.ask([...via, `1.1 ${pseudonym}`]))
          return { node: '', senders: [], region: '', headMs: 0, size: body.length, sha256: undefined, sha512: undefined, storable: true, body: Readable.from([body]), failed: error => error instanceof RelayError ? error : new RelayError('RELAY_ERR_INTERNAL', 'failed', { cause: error }) }
        } catch (error) {
          if (!(error instanceof RelayError) || error.code !== 'RELAY_ERR_LOOP') throw error
        } finally {
          asked?.delete(node)
        }
      }
      assert.equal(signal.aborted, false)
      throw new RelayError('RELAY_ERR_LOOP', 'every way is a circle')
    }
    const circles = new Circles()
    const waitsFor = async (_key: ShardKey, asked: AskedNodes, via: readonly string[]): Promise<boolean> => {
      const suspects = [...asked as unknown as Set<Place>].map(place => ({
        mayBeRelay: place !== this.origin,
        leadsBack: async () => await this.thereAndBack(async () => await place.question([...via, `1.1 ${pseudonym}`]))
      }))
      return await circles.find(suspects, '', {}) !== undefined
    }
    const service = new ShardService({ cache: noCache(), upstream: { fetch, waitsFor }, observer: { opened: () => {}, openFailed: () => {} }, maxObjectBytes: 100, maxManifestBytes: 100, maxFills: 10_000, fillTimeoutMs: 60_000 })
    return {
      question: async via => {
        try {
          refuseLoop(via, tier)
          await service.open(KEY, { via, onlyIfCached: true })
        } catch (error) {
          return error instanceof RelayError && error.code === 'RELAY_ERR_LOOP'
        }
        assert.fail('nothing is cached')
      },
      ask: async via => {
        refuseLoop(via, tier)
        const shard = await service.open(KEY, { via })
        try {
          const pieces: Uint8Array[] = []
          for (let at = 0; at < shard.size;) at += pieces[pieces.push(await shard.read(at, shard.size - at)) - 1]?.length ?? 0
          return Buffer.concat(pieces)
        } finally {
          shard.release()
        }
      }
    }
  }
}

test('whatever relays name whom as super-nodes, and whenever viewers come: every request ends by itself, with the object where an origin can be reached', async t => {
  const seen = { object: 0, loop: 0 }
  await fc.assert(fc.asyncProperty(
    fc.integer({ min: 2, max: 4 }).chain(count => fc.record({
      // Number `count` is the origin.
      edges: fc.array(fc.uniqueArray(fc.integer({ min: 0, max: count }), { minLength: 1, maxLength: count + 1 }), { minLength: count, maxLength: count }),
      viewers: fc.array(fc.record({ at: fc.nat(count - 1), after: fc.nat(6) }), { minLength: 1, maxLength: 8 })
    })),
    fc.array(fc.nat(5), { minLength: 1, maxLength: 30 }),
    async ({ edges, viewers }, delays) => {
      const network = new Network(delays)
      const places: Place[] = []
      for (const [n, to] of edges.entries()) places.push(network.relay(String(n), () => to.map(at => places[at] ?? network.origin)))
      const reaches = (from: number, past: readonly number[] = []): boolean => (edges[from] ?? []).some(to => to === edges.length || (![...past, from].includes(to) && reaches(to, [...past, from])))
      let open = viewers.length
      const results = viewers.map(async ({ at, after }) => {
        for (let n = 0; n < after; n++) await network.travel()
        const result = await (places[at] ?? network.origin).ask([]).then(() => 'object' as const, (error: unknown) => error instanceof RelayError && error.code === 'RELAY_ERR_LOOP' ? 'loop' as const : String(error))
        open--
        return { at, result }
      })
      // Nothing travels and nobody has an answer: they wait for each other.
      for (let quiet = 0; open > 0; quiet = network.travelling > 0 ? 0 : quiet + 1) {
        assert.ok(quiet < 100, `${open} of ${viewers.length} requests wait for ever`)
        await new Promise(resolve => { setImmediate(resolve) })
      }
      for (const { at, result } of await Promise.all(results)) {
        assert.equal(result, reaches(at) ? 'object' : 'loop', `relay ${at}`)
        seen[result === 'object' ? 'object' : 'loop']++
      }
    }
  ), { numRuns: 500 })
  t.diagnostic(`${seen.object} objects, ${seen.loop} circles`)
  assert.ok(seen.object > 200 && seen.loop > 200)
})
