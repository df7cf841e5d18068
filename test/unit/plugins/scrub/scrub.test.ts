import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { suite, test } from 'node:test'
import fc from 'fast-check'
import { CHUNK_BYTES } from '../../../../src/storage/disk-files.ts'
import { DiskHangsError } from '../../../../src/storage/disk-queue.ts'
import { BUSY_MS, LOOK_MS, PAGE, Scrub, TRIES, TROUBLE_MS, type ScrubOptions, type ScrubOutcome } from '../../../../src/plugins/scrub/scrub.ts'
import { newScrubState, parseScrubState, scrubStateText, type ScrubState } from '../../../../src/plugins/scrub/scrub-state.ts'
import { manualClock, type ManualClock } from '../../../support/cache.ts'

const RATE = 1_000_000
const DAY_MS = 86_400_000

interface Stored {
  readonly id: string
  readonly size: number
  readonly sha256: string
  /** Every byte of the file. */
  value: number
  trouble: 'hangs' | 'EIO' | undefined
  pinned: number
}

/** A cache in memory whose files hold one value each. */
class Shelf {
  readonly entries = new Map<string, Stored>()
  readonly verified: string[] = []
  readonly dropped: string[] = []
  readonly reads: { at: number, bytes: number }[] = []
  readonly outcomes: ScrubOutcome[] = []
  readonly clock: ManualClock = manualClock()
  open = 0
  mostOpen = 0
  mostPage = 0
  passes = 0
  indexFails = false

  store (id: string, size: number): Stored {
    const entry = { id, size, value: 7, trouble: undefined, pinned: 0, sha256: createHash('sha256').update(Buffer.alloc(size, 7)).digest('hex') }
    this.entries.set(id, entry)
    return entry
  }

  drop (id: string): void {
    this.entries.delete(id)
    this.dropped.push(id)
  }

  scrub (state: ScrubState = newScrubState(), options: Partial<ScrubOptions> = {}): Scrub {
    return new Scrub({
      source: {
        ids: async (after, limit) => {
          if (this.indexFails) throw new Error('the index does not answer')
          const ids = [...this.entries.keys()].sort().filter(id => id > after).slice(0, limit)
          this.mostPage = Math.max(this.mostPage, ids.length)
          return ids
        },
        drop: id => { this.drop(id) },
        open: async id => {
          const entry = this.entries.get(id)
          if (entry === undefined) return undefined
          if (entry.trouble === 'EIO') throw Object.assign(new Error('EIO'), { code: 'EIO' })
          this.mostOpen = Math.max(this.mostOpen, ++this.open)
          entry.pinned++
          const indexed = (): boolean => this.entries.get(id) === entry
          return {
            size: entry.size,
            indexed,
            read: async (into, length) => {
              if (entry.trouble === 'hangs') throw new DiskHangsError('TIMEOUT')
              into.fill(entry.value, 0, length)
              this.reads.push({ at: this.clock.monotonic(), bytes: length })
              return length
            },
            judge: sha256 => {
              if (sha256 === entry.sha256) this.verified.push(id)
              else this.drop(id)
              return sha256 === entry.sha256
            },
            drop: () => { this.drop(id) },
            close: async () => {
              this.open--
              entry.pinned--
            }
          }
        }
      },
      bytesPerSecond: RATE,
      intervalMs: DAY_MS,
      clock: this.clock,
      state,
      mayRun: () => true,
      diskBusy: () => false,
      observer: { read: () => {}, done: outcome => { this.outcomes.push(outcome) }, passed: () => { this.passes++ } },
      ...options
    })
  }

  /** Steps until a pass has ended, with something happening before each. */
  async pass (scrub: Scrub, happens: () => void | Promise<void> = () => {}): Promise<void> {
    const { passes } = this
    for (let steps = 0; this.passes === passes; steps++) {
      assert.ok(steps < 100_000, 'the pass does not end')
      await happens()
      this.clock.advance(await scrub.step())
    }
  }
}

const name = (n: number): string => `cid${String(n).padStart(4, '0')}/0`

suite('scrub', () => {
  test('random stores, purges, evictions, rot and restarts during a pass: what stays is verified once, what rotted goes, nothing right does, the rate holds', async () => {
    const event = fc.record({ kind: fc.constantFrom('store', 'purge', 'rot', 'replace', 'restart', 'load', 'nothing', 'nothing'), n: fc.nat(20), size: fc.constantFrom(0, 1, 3_000, CHUNK_BYTES, 2 * CHUNK_BYTES + 1) })
    await fc.assert(fc.asyncProperty(fc.array(fc.record({ n: fc.nat(20), size: fc.constantFrom(0, 1, 100_000, CHUNK_BYTES + 1) }), { maxLength: 12 }), fc.array(event, { maxLength: 60 }), async (initial, events) => {
      const shelf = new Shelf()
      for (const { n, size } of initial) shelf.store(name(n), size)
      const before = new Map(shelf.entries)
      const gone = new Set<string>()
      const rotten = new Set<string>()
      let loaded = false
      const options = { mayRun: () => !loaded }
      let scrub = shelf.scrub(newScrubState(), options)
      scrub.start()
      const queue = events.values()
      const started = shelf.clock.monotonic()
      const run = async (): Promise<void> => {
        for (let steps = 0; shelf.passes === 0; steps++) {
          assert.ok(steps < 10_000, 'the pass does not end')
          const { value: happening } = queue.next()
          loaded = happening?.kind === 'load'
          const id = name(happening?.n ?? 0)
          const entry = shelf.entries.get(id)
          switch (happening?.kind) {
            case 'store':
              if (entry === undefined) shelf.store(id, happening.size)
              break
            case 'replace':
              if (entry !== undefined) gone.add(id)
              shelf.store(id, happening.size)
              rotten.delete(id)
              break
            // What is read is not evicted, but it may be purged; both look alike here.
            case 'purge':
              shelf.entries.delete(id)
              gone.add(id)
              break
            case 'rot':
              if (entry !== undefined && entry.size > 0) {
                entry.value = 8
                rotten.add(id)
              }
              break
            case 'restart':
              await scrub.release()
              scrub = shelf.scrub(parseScrubState(scrubStateText(scrub.state)), options)
              break
            case 'load': case 'nothing': case undefined:
          }
          const { length } = shelf.dropped
          shelf.clock.advance(await scrub.step())
          // Looked at now: what takes its place later is right again.
          for (const dropped of shelf.dropped.slice(length)) {
            assert.ok(rotten.delete(dropped), `${dropped} was right and is gone`)
            gone.add(dropped)
          }
        }
      }
      await run()
      for (const [id, entry] of before) {
        if (gone.has(id) || rotten.has(id)) continue
        assert.equal(shelf.entries.get(id), entry)
        assert.equal(shelf.verified.filter(other => other === id).length, 1, id)
      }
      assert.ok(shelf.verified.every(id => shelf.verified.indexOf(id) === shelf.verified.lastIndexOf(id)))
      assert.equal(shelf.open, 0)
      assert.ok(shelf.mostOpen <= 1)
      const times = shelf.reads.map(({ at }) => at)
      for (const [from, since] of [started, ...times].entries()) {
        let bytes = 0
        for (const { at, bytes: read } of shelf.reads.slice(Math.max(0, from - 1))) {
          bytes += read
          // One chunk may be read at the end of the time, besides one that was paid for before; and what a restart forgets of its last.
          const restarts = events.filter(({ kind }) => kind === 'restart').length
          assert.ok(bytes <= (at - since) / 1_000 * RATE + (1 + restarts) * CHUNK_BYTES + 1, `${bytes} bytes in ${at - since} ms`)
        }
      }
    }), { numRuns: 150 })
  })

  test('a second pass begins an interval after the first began, and finds what has rotted since', async () => {
    const shelf = new Shelf()
    for (let n = 0; n < 3; n++) shelf.store(name(n), 10_000)
    const scrub = shelf.scrub()
    const began = shelf.clock.now()
    await shelf.pass(scrub)
    assert.deepEqual(shelf.verified, [name(0), name(1), name(2)])
    assert.equal(scrub.state.verifiedSince, began)
    const entry = shelf.entries.get(name(1))
    assert.ok(entry)
    entry.value = 9
    await shelf.pass(scrub)
    assert.deepEqual([shelf.dropped, scrub.state.last?.rotted, scrub.state.last?.verified, scrub.state.last?.bytes], [[name(1)], 1, 2, 20_000])
    assert.ok((scrub.state.last?.startedAt ?? 0) - began >= DAY_MS)
    assert.ok((scrub.state.last?.startedAt ?? 0) - began < DAY_MS + 2 * LOOK_MS)
  })

  test('a clock that was set back delays the next pass by an interval at most', async () => {
    const shelf = new Shelf()
    const state = { ...newScrubState(), last: { startedAt: shelf.clock.now() + 100 * DAY_MS, bytes: 0, verified: 0, rotted: 0, unreadable: 0, skipped: 0, endedAt: 0 } }
    const scrub = shelf.scrub(state)
    assert.equal(await scrub.step(), LOOK_MS)
    shelf.clock.advance(DAY_MS)
    await scrub.step()
    assert.equal(scrub.state.pass, null)
  })

  test('a disk that hangs: tried again, then skipped, the entry stays, and the pass does not count as complete', async () => {
    const shelf = new Shelf()
    for (let n = 0; n < 2; n++) shelf.store(name(n), 10)
    const entry = shelf.entries.get(name(0))
    assert.ok(entry)
    entry.trouble = 'hangs'
    const scrub = shelf.scrub()
    const start = shelf.clock.monotonic()
    await shelf.pass(scrub)
    assert.deepEqual([shelf.outcomes, shelf.dropped, scrub.state.verifiedSince], [['skipped', 'verified'], [], null])
    assert.ok(shelf.clock.monotonic() - start >= TRIES * TROUBLE_MS)
  })

  test('a file that cannot be read goes, one a second', async () => {
    const shelf = new Shelf()
    for (let n = 0; n < 5; n++) shelf.store(name(n), 10).trouble = 'EIO'
    const start = shelf.clock.monotonic()
    await shelf.pass(shelf.scrub())
    assert.equal(shelf.dropped.length, 5)
    assert.ok(shelf.clock.monotonic() - start >= 5 * TROUBLE_MS)
  })

  test('under load, in a drain and while paused nothing is read and nothing is held; viewers who wait for the disk come first', async () => {
    const shelf = new Shelf()
    shelf.store(name(0), 3 * CHUNK_BYTES)
    let may = true
    let busy = false
    const scrub = shelf.scrub(newScrubState(), { mayRun: () => may, diskBusy: () => busy })
    scrub.start()
    while (shelf.reads.length === 0) shelf.clock.advance(await scrub.step())
    assert.equal(shelf.open, 1)
    assert.ok(scrub.active)
    busy = true
    shelf.clock.advance(10_000)
    assert.equal(await scrub.step(), BUSY_MS)
    assert.equal(shelf.open, 1)
    for (const stop of [() => { may = false }, () => { scrub.pause() }]) {
      stop()
      const { length } = shelf.reads
      assert.equal(await scrub.step(), LOOK_MS)
      assert.deepEqual([shelf.open, shelf.reads.length, scrub.active], [0, length, false])
      may = true
    }
    assert.ok(scrub.state.paused)
    busy = false
    scrub.start()
    await shelf.pass(scrub)
    assert.deepEqual(shelf.verified, [name(0)])
  })

  test('a rate of 0 reads nothing, and an index that does not answer is asked again', async () => {
    const shelf = new Shelf()
    shelf.store(name(0), 10)
    assert.equal(await shelf.scrub(newScrubState(), { bytesPerSecond: 0 }).step(), LOOK_MS)
    assert.equal(shelf.reads.length, 0)
    const scrub = shelf.scrub()
    scrub.start()
    shelf.indexFails = true
    assert.equal(await scrub.step(), LOOK_MS)
    shelf.indexFails = false
    await shelf.pass(scrub)
    assert.deepEqual(shelf.verified, [name(0)])
  })

  test('memory is bounded: ids come by pages, one file is open', async () => {
    const shelf = new Shelf()
    for (let n = 0; n < 3 * PAGE + 1; n++) shelf.store(name(n), 1)
    await shelf.pass(shelf.scrub())
    assert.deepEqual([shelf.verified.length, shelf.mostPage, shelf.mostOpen], [3 * PAGE + 1, PAGE, 1])
  })
})

suite('what the scrub keeps', () => {
  test('is read as it was written; what is no state of this version is named', () => {
    const state: ScrubState = { ...newScrubState(), paused: true, verifiedSince: 5, pass: { startedAt: 1.5, bytes: 2, verified: 3, rotted: 4, unreadable: 5, skipped: 6, cursor: 'cid/manifest' } }
    assert.deepEqual(parseScrubState(scrubStateText(state)), state)
    for (const [text, message] of [['{', /not JSON/], ['{"version":2}', /version 2, and this relay reads 1/], ['[]', /object/], [JSON.stringify({ ...state, pass: { ...state.pass, bytes: -1 } }), /bytes/]] as const) {
      assert.throws(() => parseScrubState(text), { code: 'RELAY_ERR_CONFIG', message })
    }
    fc.assert(fc.property(fc.string(), text => {
      try {
        parseScrubState(text)
      } catch (error) {
        assert.equal((error as { code?: string }).code, 'RELAY_ERR_CONFIG')
      }
    }))
  })
})
