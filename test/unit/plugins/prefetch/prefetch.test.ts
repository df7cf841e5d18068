import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { setImmediate as nextTurn } from 'node:timers/promises'
import fc from 'fast-check'
import { deferred, type Deferred } from '../../../../src/base/deferred.ts'
import { RelayError } from '../../../../src/base/errors.ts'
import { MAX_WAIT_MS, MAX_WAITING, Prefetch, type PrefetchOptions } from '../../../../src/plugins/prefetch/prefetch.ts'
import { hasRoomFor } from '../../../../src/plugins/prefetch/room.ts'
import { EXPECTED_WITHIN_MS, MAX_UNUSED, UnusedObjects } from '../../../../src/plugins/prefetch/unused-objects.ts'
import type { FillHead } from '../../../../src/plugins/shards/running-fill.ts'
import type { Origin } from '../../../../src/protocol/answer.ts'
import { keyId, type ShardKey } from '../../../../src/protocol/shard-key.ts'
import { virtualTimers, type VirtualTimers } from '../../../fakes/timers.ts'

const SIZE = 1_000

interface FakeFill {
  readonly head: Deferred<FillHead>
  readonly finished: Deferred<undefined>
  givenUp: boolean
  broken: boolean
}

/** A relay in which every fill takes as long as the test says. */
class Rig {
  readonly timers: VirtualTimers = virtualTimers()
  readonly cache = new Set<string>()
  readonly fills = new Map<string, FakeFill>()
  /** What was begun, and when. */
  readonly begun: { readonly id: string, readonly at: number }[] = []
  readonly told: string[] = []
  viewersFills = 0
  mayRun = true
  room = true
  next: readonly string[] = []
  /** Of the shards of a video, as its manifest says. */
  readonly sizes = new Map<string, number>()
  /** Bytes that room was asked for. */
  readonly roomFor: number[] = []
  readonly prefetch: Prefetch

  constructor (options: Partial<PrefetchOptions> = {}) {
    const counts = (): [running: number, quiet: number] => [this.viewersFills + this.fills.size, this.fills.size]
    this.prefetch = new Prefetch({
      concurrency: 4,
      maxBps: 0,
      maxDepth: 8,
      contendedAt: 3,
      shards: {
        get fills () { return counts()[0] },
        get unwantedFills () { return counts()[1] },
        bringIn: key => this.#bringIn(keyId(key))
      },
      cached: key => this.cache.has(keyId(key)),
      hasRoom: bytes => {
        this.roomFor.push(bytes)
        return this.room
      },
      nextCids: () => this.next,
      sizeOf: ({ cid }) => this.sizes.get(cid),
      mayRun: () => this.mayRun,
      timers: this.timers,
      observer: {
        ended: (source, outcome) => { this.told.push(`${source} ${outcome}`) },
        skipped: (reason, objects) => { this.told.push(`skipped ${reason} ${objects}`) },
        bytes: (kind, _source, bytes) => { this.told.push(`${kind} ${bytes}`) }
      },
      ...options
    })
  }

  /** A viewer opens an object, and has it: from the cache, by joining what is on its way, or as a miss. */
  open (cid: string, part: ShardKey['part'], hints: readonly ShardKey[] = []): void {
    const id = keyId({ cid, part })
    const origin: Origin = this.cache.has(id) ? { hit: true, tier: 'disk', storedAt: 0 } : { hit: false, collapsed: this.fills.has(id), region: '', node: 'a', headMs: 0 }
    if (!origin.hit && !origin.collapsed) this.cache.add(id)
    this.prefetch.opened({ cid, part }, { size: SIZE, origin }, hints)
  }

  async end (id: string, stored = true, broken = false): Promise<void> {
    const fill = this.fills.get(id)
    assert.ok(fill, id)
    fill.broken = broken
    fill.head.resolve({ size: SIZE, sha256: undefined, verified: true, node: '', region: '', headMs: 0, ageMs: 0, lasting: true, repaired: false })
    if (stored) this.cache.add(id)
    await this.#finish(id, fill)
  }

  async fail (id: string, error: RelayError): Promise<void> {
    const fill = this.fills.get(id)
    assert.ok(fill, id)
    fill.broken = true
    fill.head.reject(error)
    await this.#finish(id, fill)
  }

  async #finish (id: string, fill: FakeFill): Promise<void> {
    this.fills.delete(id)
    fill.finished.resolve(undefined)
    await nextTurn()
  }

  #bringIn (id: string): ReturnType<PrefetchOptions['shards']['bringIn']> {
    if (this.cache.has(id) || this.fills.has(id)) return undefined
    const fill: FakeFill = { head: deferred<FillHead>(), finished: deferred<undefined>(), givenUp: false, broken: false }
    this.fills.set(id, fill)
    this.begun.push({ id, at: this.timers.now() })
    return { head: fill.head.promise, finished: fill.finished.promise.then(() => {}), complete: async () => { if (fill.broken) throw new RelayError('RELAY_ERR_FILLS_BUSY', 'broken') }, giveUp: () => { fill.givenUp = true } }
  }

  ids (): string[] { return this.begun.map(({ id }) => id) }
}

suite('prefetching', () => {
  test('keeps to its concurrency and its budget, brings in nothing twice between two requests for it, and remembers a bounded number', async () => {
    const step = fc.oneof(
      { weight: 6, arbitrary: fc.record({ type: fc.constant('open' as const), cid: fc.constantFrom('a', 'b', 'c', 'd'), part: fc.integer({ min: 0, max: 13 }) }) },
      { weight: 2, arbitrary: fc.record({ type: fc.constant('hint' as const), cid: fc.constantFrom('a', 'x', 'y'), part: fc.integer({ min: 0, max: 13 }) }) },
      { weight: 5, arbitrary: fc.record({ type: fc.constantFrom('end' as const, 'vain' as const, 'fail' as const), which: fc.nat() }) },
      { weight: 3, arbitrary: fc.record({ type: fc.constant('pass' as const), ms: fc.integer({ min: 1, max: 4_000 }) }) },
      { weight: 1, arbitrary: fc.record({ type: fc.constant('evict' as const), which: fc.nat() }) },
      { weight: 1, arbitrary: fc.record({ type: fc.constant('viewers' as const), fills: fc.integer({ min: 0, max: 4 }) }) },
      { weight: 1, arbitrary: fc.record({ type: fc.constant('load' as const), mayRun: fc.boolean(), room: fc.boolean() }) }
    )
    /** Two objects a second, and one second's worth in a burst. */
    const maxBps = 2 * SIZE * 8
    await fc.assert(fc.asyncProperty(fc.array(step, { maxLength: 120 }), fc.integer({ min: 1, max: 3 }), async (steps, concurrency) => {
      const rig = new Rig({ concurrency, maxBps })
      const sinceAsked = new Set<string>()
      let seen = 0
      for (const action of steps) {
        if (action.type === 'open') {
          sinceAsked.delete(keyId(action))
          rig.open(action.cid, action.part)
        } else if (action.type === 'hint') {
          sinceAsked.delete('a/0')
          rig.open('a', 0, [action, { ...action, part: 'manifest' }])
        } else if (action.type === 'pass') await rig.timers.pass(action.ms)
        else if (action.type === 'evict') rig.cache.delete([...rig.cache][action.which % rig.cache.size] ?? '')
        else if (action.type === 'viewers') rig.viewersFills = action.fills
        else if (action.type === 'load') {
          Object.assign(rig, { mayRun: action.mayRun, room: action.room })
          if (!action.mayRun) rig.prefetch.giveUp()
        } else {
          const id = [...rig.fills.keys()][action.which % rig.fills.size]
          if (id === undefined) continue
          if (action.type === 'fail') await rig.fail(id, new RelayError('RELAY_ERR_SHARD_NOT_FOUND', 'nobody has it'))
          else await rig.end(id, action.type === 'end')
        }
        assert.ok(rig.prefetch.running <= concurrency && rig.prefetch.waiting <= MAX_WAITING)
        if (rig.begun.length > seen) assert.ok(rig.mayRun && rig.room && rig.viewersFills < 3, 'it began although it must not')
        for (const { id } of rig.begun.slice(seen)) {
          assert.ok(!sinceAsked.has(id), `${id} was brought in twice`)
          sinceAsked.add(id)
        }
        seen = rig.begun.length
      }
      // No time has more than the rate and one burst; what failed cost nothing.
      const brought = rig.told.some(line => line.endsWith('failed')) ? [] : rig.begun
      for (const ms of [0, 3_000]) {
        for (const { at } of brought) assert.ok(brought.filter(other => other.at >= at && other.at <= at + ms).length <= 2 * (ms / 1_000) + 2)
      }
    }), { numRuns: 30 })
  })

  test('two viewers of one video make one chain, and one who asks for what is coming has joined it', async () => {
    const rig = new Rig()
    rig.open('a', 0)
    rig.open('a', 0)
    assert.deepEqual(rig.ids(), ['a/1', 'a/2'])
    rig.open('a', 1)
    assert.deepEqual(rig.ids(), ['a/1', 'a/2', 'a/3'])
    assert.equal(rig.prefetch.running, 2)
    await rig.end('a/1')
    await rig.end('a/2')
    assert.deepEqual(rig.told, ['order joined', `brought ${SIZE}`, `used ${SIZE}`, 'order stored', `brought ${SIZE}`])
    rig.open('a', 2)
    assert.equal(rig.told.at(-1), `used ${SIZE}`)
  })

  test('waits while viewers wait for many others, and not for ever', async () => {
    const rig = new Rig()
    rig.viewersFills = 3
    rig.open('a', 0)
    await rig.timers.pass(1_000)
    assert.deepEqual(rig.ids(), [])
    rig.viewersFills = 2
    await rig.timers.pass(100)
    assert.deepEqual(rig.ids(), ['a/1', 'a/2'])
    rig.viewersFills = 3
    rig.open('b', 0)
    await rig.timers.pass(MAX_WAIT_MS + 100)
    assert.equal(rig.prefetch.waiting, 0)
    assert.equal(rig.timers.waiting, 0)
    assert.deepEqual(rig.told, ['skipped late 1', 'skipped late 1'])
  })

  test('without room brings in nothing, and looks again after a while', async () => {
    const rig = new Rig()
    rig.room = false
    rig.open('a', 0)
    await rig.timers.pass(900)
    assert.deepEqual([rig.ids(), rig.told, rig.prefetch.waiting], [[], ['skipped room 1'], 1])
    rig.room = true
    await rig.timers.pass(200)
    assert.deepEqual(rig.ids(), ['a/2'])
  })

  test('room is looked for as large as the manifest says the object is, or as the last shard was', () => {
    const rig = new Rig({ concurrency: 8 })
    rig.sizes.set('b', 7)
    rig.next = ['b', 'c']
    rig.open('a', 'manifest')
    rig.open('a', 8)
    rig.open('b', 9)
    assert.deepEqual(rig.roomFor, [10_000_000, 10_000_000, SIZE, 7, SIZE, SIZE])
    assert.deepEqual(rig.ids(), ['a/0', 'a/1', 'a/9', 'b/manifest', 'c/manifest', 'c/0'])
  })

  test('load ends what nobody has joined, and forgets the rest', () => {
    const rig = new Rig({ concurrency: 1 })
    rig.open('a', 0)
    const [fill] = rig.fills.values()
    rig.mayRun = false
    rig.prefetch.giveUp()
    assert.equal(fill?.givenUp, true)
    assert.deepEqual([rig.prefetch.waiting, rig.told], [0, ['skipped load 1']])
    rig.open('b', 0)
    assert.deepEqual(rig.ids(), ['a/1'])
  })

  test('what was evicted unused is wasted, and what is not asked for in time makes the depth less', async () => {
    const rig = new Rig({ concurrency: 8 })
    for (const cid of ['a', 'b', 'c', 'd']) {
      rig.open(cid, 0)
      for (const id of [...rig.fills.keys()]) await rig.end(id)
    }
    assert.equal(rig.prefetch.unusedBytes, 8 * SIZE)
    rig.cache.delete('a/1')
    rig.prefetch.look()
    assert.equal(rig.told.at(-1), `wasted ${SIZE}`)
    assert.equal(rig.prefetch.depth('order'), 2)
    await rig.timers.pass(EXPECTED_WITHIN_MS)
    rig.prefetch.look()
    rig.prefetch.look()
    assert.equal(rig.prefetch.depth('order'), 1)
    assert.equal(rig.prefetch.unusedBytes, 7 * SIZE)
    // Late is not wasted, and a viewer finds it all the same.
    rig.open('b', 1)
    assert.equal(rig.told.at(-1), `used ${SIZE}`)
    assert.equal(rig.prefetch.depth('order'), 1)
    // Gone when it was asked for: the viewer had a miss.
    rig.cache.delete('b/2')
    rig.open('b', 2)
    assert.equal(rig.told.at(-1), `wasted ${SIZE}`)
  })

  test('what the cache does not keep counts against the depth, and what was broken off does not', async () => {
    for (const broken of [true, false]) {
      const rig = new Rig()
      for (let n = 0; n < 4; n++) {
        rig.open(`v${n}`, 0)
        await rig.end(`v${n}/1`, false, broken)
        await rig.end(`v${n}/2`, false, broken)
      }
      assert.equal(rig.prefetch.depth('order'), broken ? 2 : 1)
      assert.equal(rig.told.at(-1), broken ? 'order failed' : 'order unstored')
    }
  })

  test('a hint goes before the order, as far as its own depth allows', async () => {
    const rig = new Rig({ maxDepth: 2 })
    rig.open('a', 3, [{ cid: 'z', part: 9 }, { cid: 'a', part: 0 }, { cid: 'a', part: 1 }])
    assert.deepEqual(rig.ids(), ['z/9', 'a/0'])
    await rig.end('z/9')
    assert.equal(rig.told[0], 'hint stored')
  })

  test('hints that name what nobody has end with hints; the order stays', async () => {
    const rig = new Rig({ maxDepth: 1 })
    for (let n = 0; n < 8; n++) {
      rig.open('a', 12, [{ cid: `none${n}`, part: 10 }])
      await rig.fail(`none${n}/10`, new RelayError('RELAY_ERR_SHARD_NOT_FOUND', 'nobody has it'))
    }
    assert.deepEqual([rig.prefetch.depth('hint'), rig.prefetch.depth('order')], [0, 1])
    rig.open('a', 3, [{ cid: 'b', part: 1 }])
    assert.equal(rig.ids().at(-1), 'a/4')
  })

  test('parity comes for a data shard that nobody has, and for no other failure', async () => {
    const rig = new Rig()
    rig.open('a', 0)
    await rig.fail('a/1', new RelayError('RELAY_ERR_UPSTREAM_TIMEOUT', 'late'))
    await rig.fail('a/2', new RelayError('RELAY_ERR_SHARD_NOT_FOUND', 'nobody has it'))
    assert.deepEqual(rig.ids(), ['a/1', 'a/2', 'a/10'])
    rig.open('a', 3)
    await rig.fail('a/4', new RelayError('RELAY_ERR_SHARD_NOT_FOUND', 'nobody has it'))
    assert.equal(rig.ids().at(-1), 'a/11')
  })

  test('unused objects are remembered up to a number, the oldest is forgotten', () => {
    const unused = new UnusedObjects()
    for (let n = 0; n < MAX_UNUSED; n++) assert.equal(unused.add({ key: { cid: `v${n}`, part: 0 }, source: 'order', size: 2, at: n }), undefined)
    assert.equal(unused.add({ key: { cid: 'new', part: 0 }, source: 'order', size: 2, at: 0 })?.object.key.cid, 'v0')
    assert.deepEqual([unused.count, unused.bytes], [MAX_UNUSED, 2 * MAX_UNUSED])
  })

  test('there is room where nothing goes that was used lately', () => {
    const entries = [{ size: 10, lastAccess: 5 }, { size: 10, lastAccess: 6 }, { size: 10, lastAccess: 90 }]
    const store = (usedBytes: number): Parameters<typeof hasRoomFor>[0] => ({ maxBytes: 100, usedBytes, firstOut: () => entries })
    assert.equal(hasRoomFor(store(70), 30, 0), true)
    assert.equal(hasRoomFor(store(100), 20, 50), true)
    assert.equal(hasRoomFor(store(100), 21, 50), false)
    assert.equal(hasRoomFor(store(100), 1, 5), false)
    assert.equal(hasRoomFor(store(100), 31, 100), false)
  })
})
