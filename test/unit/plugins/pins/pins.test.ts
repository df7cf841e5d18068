import assert from 'node:assert/strict'
import { readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { suite, test, type TestContext } from 'node:test'
import { loadPins, MAX_PINS, pinsText, type Pin } from '../../../../src/plugins/pins/pin-state.ts'
import { Pins } from '../../../../src/plugins/pins/pins.ts'
import { keyId } from '../../../../src/protocol/shard-key.ts'
import { storeBytes } from '../../../../tools/harness/store-bytes.ts'
import { temporaryDirectory } from '../../../../tools/harness/temporary-directory.ts'
import { testStore, type TestStore } from '../../../support/cache.ts'

interface Rig extends TestStore {
  readonly pins: Pins
  /** What the file has. */
  text: string
  fails: boolean
  quota: number
  put (cid: string, part: number, bytes?: number): Promise<void>
  has (cid: string, part: number): boolean
}

async function setUp (t: TestContext, earlier: readonly Pin[] = []): Promise<Rig> {
  const lab = await testStore(t, { maxBytes: 1_000 })
  const { store, clock } = lab
  const rig: Rig = {
    ...lab,
    text: '',
    fails: false,
    quota: 500,
    put: async (cid, part, bytes = 100) => { assert.ok(await storeBytes(store, { cid, part }, Buffer.alloc(bytes, cid))) },
    has: (cid, part) => store.peek(keyId({ cid, part })) !== undefined,
    pins: new Pins(earlier, {
      store: { get pinnedBytes () { return store.pinnedBytes }, peek: id => store.peek(id), keep: (entry, on) => { store.keep(entry, on) } },
      quota: () => rig.quota,
      now: () => clock.now(),
      keep: async text => {
        if (rig.fails) throw new Error('no room')
        rig.text = text
      }
    })
  }
  store.onArrived(entry => { rig.pins.arrived(entry) })
  return rig
}

suite('a pinned CID', () => {
  test('keeps its objects, those that come later too, through whatever else is stored; let go, they are evicted as any other', async t => {
    const rig = await setUp(t)
    await rig.put('P', 0)
    assert.deepEqual(await rig.pins.add('P', null), { cid: 'P', since: rig.clock.now(), expiresAt: null, objects: 1, bytes: 100 })
    await rig.put('P', 1)
    for (let n = 0; n < 30; n++) await rig.put(`x${n}`, 0)
    assert.deepEqual([rig.has('P', 0), rig.has('P', 1), rig.store.pinnedBytes, rig.store.count], [true, true, 200, 10])
    assert.equal(await rig.pins.remove('P'), true)
    assert.equal(await rig.pins.remove('P'), false)
    for (let n = 0; n < 30; n++) await rig.put(`y${n}`, 0)
    assert.deepEqual([rig.has('P', 0), rig.has('P', 1), rig.store.pinnedBytes], [false, false, 0])
  })

  test('is refused beyond the quota, and told how much is free; what comes in beyond it is stored unpinned and counted', async t => {
    const rig = await setUp(t)
    for (let part = 0; part < 4; part++) await rig.put('P', part)
    await rig.pins.add('P', null)
    for (const part of [0, 1]) await rig.put('Q', part)
    await assert.rejects(rig.pins.add('Q', null), { code: 'RELAY_ERR_PIN_QUOTA', message: 'the objects of Q have 200 bytes that are not pinned, and 100 of cache.pin_max_bytes are free' })
    assert.equal(rig.pins.count, 1)
    await rig.put('P', 4)
    await rig.put('P', 5)
    assert.deepEqual([rig.store.pinnedBytes, rig.pins.beyond], [500, 1])
    for (let n = 0; n < 30; n++) {
      await rig.put(`x${n}`, 0)
      assert.ok(rig.store.pinnedBytes <= rig.quota && rig.store.usedBytes <= 1_000)
    }
    assert.deepEqual([rig.has('P', 4), rig.has('P', 5)], [true, false])
  })

  test('is purged all the same and stays pinned; an object that is replaced is pinned again', async t => {
    const rig = await setUp(t)
    await rig.put('P', 0)
    await rig.pins.add('P', null)
    rig.store.purge('P/0')
    assert.deepEqual(rig.pins.list(10).map(({ cid, objects }) => [cid, objects]), [['P', 0]])
    assert.equal(rig.store.pinnedBytes, 0)
    await rig.put('P', 0, 50)
    await rig.put('P', 0, 60)
    assert.deepEqual(rig.pins.list(10).map(({ bytes }) => bytes), [60])
    assert.equal(rig.store.pinnedBytes, 60)
  })

  test('expires, and not before; a second pin gives it another end', async t => {
    const rig = await setUp(t)
    await rig.put('P', 0)
    await assert.rejects(rig.pins.add('P', rig.clock.now()), { code: 'RELAY_ERR_BAD_REQUEST' })
    await rig.pins.add('P', rig.clock.now() + 1_000)
    await rig.pins.add('P', rig.clock.now() + 2_000)
    rig.clock.advance(1_999)
    assert.equal(await rig.pins.expire(), 0)
    rig.clock.advance(1)
    assert.equal(await rig.pins.expire(), 1)
    assert.deepEqual([rig.pins.count, rig.store.pinnedBytes, rig.text], [0, 0, pinsText([])])
  })

  test('is kept in the file before it holds, and holds again after a restart; where the file cannot be written nothing changes', async t => {
    const rig = await setUp(t, [{ cid: 'P', since: 1, expiresAt: null }])
    rig.fails = true
    await assert.rejects(rig.pins.add('Q', null), /no room/)
    await assert.rejects(rig.pins.remove('P'), /no room/)
    rig.fails = false
    assert.deepEqual(rig.pins.list(10).map(({ cid }) => cid), ['P'])
    await rig.put('P', 0)
    const again = new Pins([{ cid: 'P', since: 1, expiresAt: null }], { store: { pinnedBytes: 0, peek: id => rig.store.peek(id), keep: (entry, on) => { rig.store.keep(entry, on) } }, quota: () => 500, now: () => 0, keep: async () => {} })
    assert.deepEqual(again.list(10).map(({ objects }) => objects), [1])
  })

  test('is one of 10,000 at most', async t => {
    const rig = await setUp(t, Array.from({ length: MAX_PINS }, (_, n) => ({ cid: `c${n}`, since: 1, expiresAt: null })))
    await assert.rejects(rig.pins.add('P', null), { code: 'RELAY_ERR_PIN_QUOTA', message: 'at most 10000 CIDs are pinned' })
    await rig.pins.add('c7', null)
    assert.equal(rig.pins.list(1)[0]?.cid, 'c7')
  })
})

test('a file of pins that cannot be used is moved aside, and nothing is pinned', async t => {
  const file = join(await temporaryDirectory(t), 'pins.json')
  const told: string[] = []
  const load = async (): Promise<readonly Pin[]> => await loadPins(file, message => { told.push(message) })
  assert.deepEqual(await load(), [])
  const pins = [{ cid: 'P', since: 1, expiresAt: 5 }]
  await writeFile(file, pinsText(pins))
  assert.deepEqual(await load(), pins)
  assert.deepEqual(told, [])
  await writeFile(file, '{"version":2,"pins":[]}')
  assert.deepEqual(await load(), [])
  assert.equal(told.length, 1)
  const [aside = ''] = await readdir(join(file, '..'))
  assert.match(aside, /^pins\.json\.damaged-\d+$/)
  assert.equal(await readFile(join(file, '..', aside), 'utf8'), '{"version":2,"pins":[]}')
})

test('as many pins as there may be, each of the longest CID, are read again', async t => {
  const file = join(await temporaryDirectory(t), 'pins.json')
  const time = Number.MAX_VALUE
  const pins = Array.from({ length: MAX_PINS }, (_, n) => ({ cid: String(n).padStart(128, 'c'), since: time, expiresAt: time }))
  await writeFile(file, pinsText(pins))
  assert.deepEqual(await loadPins(file, message => { assert.fail(message) }), pins)
})
