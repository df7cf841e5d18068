import { test } from 'node:test'
import assert from 'node:assert/strict'
import fc from 'fast-check'
import { FrequencySketch } from '../../../src/storage/orders/frequency-sketch.ts'
import { Ghosts } from '../../../src/storage/orders/ghosts.ts'
import { idHash } from '../../../src/storage/orders/id-hash.ts'

test('the sketch never counts too few, up to 15, and seldom too many', () => {
  const sketch = new FrequencySketch()
  const uses = (n: number): number => n % 20
  for (let n = 0; n < 100; n++) for (let use = 0; use < uses(n); use++) sketch.add(idHash(`object-${n}`))
  const counted = Array.from({ length: 100 }, (_, n) => sketch.estimate(idHash(`object-${n}`)))
  assert.ok(counted.every((estimate, n) => estimate >= Math.min(15, uses(n))))
  assert.ok(counted.filter((estimate, n) => estimate > Math.min(15, uses(n))).length <= 5)
})

test('a sketch that grows keeps what it knows', () => {
  const sketch = new FrequencySketch()
  for (let n = 0; n < 50; n++) for (let use = 0; use <= n % 10; use++) sketch.add(idHash(`object-${n}`))
  const before = Array.from({ length: 50 }, (_, n) => sketch.estimate(idHash(`object-${n}`)))
  sketch.fit(10_000)
  assert.deepEqual(Array.from({ length: 50 }, (_, n) => sketch.estimate(idHash(`object-${n}`))), before)
})

test('counts are halved after ten uses for each value', () => {
  const sketch = new FrequencySketch()
  for (let use = 0; use < 12; use++) sketch.add(idHash('popular'))
  for (let n = 0; sketch.estimate(idHash('popular')) > 6; n++) {
    sketch.add(idHash(`other-${n}`))
    assert.ok(n < 1_280)
  }
  assert.equal(sketch.estimate(idHash('popular')), 6)
})

test('ghosts are the last ones added, whatever is taken between', () => {
  const step = fc.oneof(
    fc.record({ kind: fc.constant('add' as const), hash: fc.nat(200), size: fc.nat(20) }),
    fc.record({ kind: fc.constant('take' as const), hash: fc.nat(200), size: fc.constant(0) }),
    fc.record({ kind: fc.constant('trim' as const), hash: fc.integer({ min: 50, max: 150 }), size: fc.integer({ min: 500, max: 2_000 }) })
  )
  fc.assert(fc.property(fc.array(step, { maxLength: 400, size: 'max' }), steps => {
    const ghosts = new Ghosts()
    let model: { hash: number, size: number }[] = []
    const bytes = (): number => model.reduce((sum, { size }) => sum + size, 0)
    for (const { kind, hash, size } of steps) {
      if (kind === 'trim') {
        ghosts.trim(hash, size)
        while (model.length > hash || bytes() > size) model.shift()
      } else {
        const was = model.some(one => one.hash === hash)
        model = model.filter(one => one.hash !== hash)
        if (kind === 'take') assert.equal(ghosts.take(hash), was)
        else {
          ghosts.add(hash, size)
          model.push({ hash, size })
        }
      }
      assert.deepEqual([ghosts.count, ghosts.bytes], [model.length, bytes()])
    }
    for (const { hash } of model) assert.ok(ghosts.take(hash))
    assert.equal(ghosts.count, 0)
  }), { numRuns: 60 })
})

test('ghosts that come back all the time leave no places behind, whoever never does', () => {
  const ghosts = new Ghosts()
  ghosts.add(1, 1)
  for (let n = 0; n < 10_000; n++) {
    ghosts.add(2 + n % 30, 1)
    if (n % 2 === 0) ghosts.take(2 + n % 30)
  }
  assert.ok(ghosts.places <= 128, `${ghosts.places} places`)
  assert.ok(ghosts.take(1))
})

test('hashes of ids are 30 bits, and spread', () => {
  const hashes = new Set(Array.from({ length: 10_000 }, (_, n) => idHash(`Qm${n}/${n % 14}`)))
  assert.ok(hashes.size >= 9_998)
  for (const hash of hashes) assert.ok(Number.isInteger(hash) && hash >= 0 && hash < 2 ** 30)
})
