import assert from 'node:assert/strict'
import { test } from 'node:test'
import { byteHitRatioAt, capacitiesAround, coversWell } from '../../../../src/plugins/sizing/curve.ts'
import { LEAST_REQUESTS, SizingService, type Resize } from '../../../../src/plugins/sizing/sizing-service.ts'
import { GROW_AFTER } from '../../../../src/plugins/sizing/steps.ts'

const MB = 1_000_000
const DAY_MS = 86_400_000

function service (adapts = true) {
  const state = { bytes: 100 * MB, now: 0, may: true, resized: [] as Resize[] }
  const sizing = new SizingService({
    policy: 's3-fifo',
    steps: adapts ? { minBytes: 50 * MB, maxBytes: 200 * MB, keepFreeBytes: 0, gainPoints: 0.5 } : undefined,
    cache: () => ({ bytes: state.bytes, usedBytes: state.bytes, freeBytes: 1_000 * MB }),
    resize: bytes => { state.bytes = bytes },
    mayResize: () => state.may,
    random: () => 0.5,
    now: () => state.now,
    resized: resize => { state.resized.push(resize) }
  })
  return { sizing, state }
}

/** A catalogue of twice the capacity, asked for again and again. */
function ask (sizing: SizingService, requests: number): void {
  for (let n = 0; n < requests; n++) {
    const id = `o${(n * 7919) % 200}/0`
    sizing.requested(id, undefined)
    sizing.stored(id, MB)
  }
}

test('moves the bound once enough was seen, and says when and why', () => {
  const { sizing, state } = service()
  ask(sizing, LEAST_REQUESTS - 1)
  for (let n = 0; n < GROW_AFTER; n++) sizing.look()
  assert.deepEqual(state.resized, [])
  ask(sizing, 10)
  state.may = false
  for (let n = 0; n < GROW_AFTER; n++) sizing.look()
  assert.deepEqual(state.resized, [])
  state.may = true
  for (let n = 0; n < GROW_AFTER; n++) sizing.look()
  assert.deepEqual(state.resized, [{ at: 0, from: 100 * MB, to: 110 * MB, reason: 'gain' }])
  assert.equal(state.bytes, 110 * MB)
  assert.deepEqual(sizing.last, state.resized[0])
  assert.ok(sizing.gain(100 * MB) > 10)
  assert.ok(sizing.gain(-50 * MB) < 0)
})

test('only estimates when it is not to move anything', () => {
  const { sizing, state } = service(false)
  ask(sizing, LEAST_REQUESTS)
  for (let n = 0; n < GROW_AFTER; n++) sizing.look()
  assert.deepEqual([state.resized, sizing.adapts], [[], false])
  assert.ok(sizing.gain(100 * MB) > 10)
})

test('requests of yesterday count for half', () => {
  const { sizing, state } = service(false)
  ask(sizing, 1_000)
  state.now += DAY_MS
  sizing.look()
  assert.ok(Math.abs(sizing.requests - 500) < 1e-6)
  // A clock that was set back does not make them more.
  state.now -= DAY_MS
  sizing.look()
  assert.ok(sizing.requests <= 500)
})

test('begins anew around a capacity of which the curve says little', () => {
  const { sizing, state } = service(false)
  ask(sizing, 1_000)
  state.bytes = 1_000 * MB
  sizing.look()
  assert.deepEqual([sizing.middle, sizing.requests, sizing.hitRatio], [1_000 * MB, 0, undefined])
})

test('capacities are ascending and around the one in force, for the smallest too; between them the curve is straight', () => {
  for (const bytes of [1, 3, 100 * MB, 2 ** 43]) {
    const around = capacitiesAround(bytes)
    assert.ok(around.every((capacity, n) => capacity > (around[n - 1] ?? 0)), around.join(' '))
    assert.ok(around.includes(bytes) && coversWell(bytes, bytes))
  }
  assert.ok(!coversWell(100, 20) && !coversWell(100, 500))
  const curve = [{ bytes: 100, hitRatio: 0.2, byteHitRatio: 0.2 }, { bytes: 200, hitRatio: 0.4, byteHitRatio: 0.4 }]
  for (const [bytes, expected] of [[0, 0], [50, 0.1], [100, 0.2], [150, 0.3], [200, 0.4], [900, 0.4]] as const) {
    assert.ok(Math.abs(byteHitRatioAt(curve, bytes) - expected) < 1e-9, `${bytes}`)
  }
})
