import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { hotSpots, type CpuProfile } from '../../../autocannon/profile/hot-spots.ts'

const node = (id: number, functionName: string, url = '', children: number[] = []): CpuProfile['nodes'][number] =>
  ({ id, callFrame: { functionName, url, lineNumber: 9 }, children })

const PROFILE: CpuProfile = {
  nodes: [
    node(1, '(root)', '', [2, 3, 4, 7]),
    node(2, '(idle)'),
    node(3, '(garbage collector)'),
    node(4, 'send', 'file:///work/dist/quinn/stream.js', [5, 6]),
    node(5, 'throw'),
    node(6, '', 'node:internal/timers'),
    node(7, 'send', 'file:///work/dist/quinn/stream.js', [8]),
    node(8, 'dispatch')
  ],
  samples: [2, 3, 4, 5, 6, 7, 8],
  timeDeltas: [1_000, 100, 200, 400, 50, 250, 9_000]
}

test('time is that of the function itself, by place, without idling and the profiler; native code is named with its caller', () => {
  assert.deepEqual(hotSpots(PROFILE, 10), [
    { place: 'send quinn/stream.js:10', share: 0.45 },
    { place: 'throw from send quinn/stream.js:10', share: 0.4 },
    { place: '(garbage collector)', share: 0.1 },
    { place: '(anonymous) node:internal/timers:10', share: 0.05 }
  ])
  assert.deepEqual(hotSpots(PROFILE, 1).map(({ place }) => place), ['send quinn/stream.js:10'])
})

test('a function of a script that is called like one of the profiler counts', () => {
  const nodes = [node(1, 'dispatch', 'undici/lib/client.js')]
  assert.deepEqual(hotSpots({ nodes, samples: [1], timeDeltas: [5] }, 5), [{ place: 'dispatch lib/client.js:10', share: 1 }])
})

test('a profile without samples has no hot spots, and clocks that step back count for nothing', () => {
  assert.deepEqual(hotSpots({ nodes: [] }, 5), [])
  assert.deepEqual(hotSpots({ nodes: [node(1, 'a', 'x/y.js')], samples: [1, 1], timeDeltas: [-5, 10] }, 5), [{ place: 'a x/y.js:10', share: 1 }])
})

test('any profile: shares are sorted, and all of them together are the whole', () => {
  const nodes = Array.from({ length: 10 }, (_, id) => node(id, `f${id % 4}`, id % 2 === 0 ? '' : 'a/b.js', id === 0 ? [1, 2, 3] : []))
  fc.assert(fc.property(fc.array(fc.tuple(fc.nat(12), fc.integer({ min: 1, max: 1_000 })), { minLength: 1 }), samples => {
    const spots = hotSpots({ nodes, samples: samples.map(([id]) => id), timeDeltas: samples.map(([, delta]) => delta) }, 100)
    assert.ok(Math.abs(spots.reduce((sum, { share }) => sum + share, 0) - 1) < 1e-9)
    assert.deepEqual(spots, [...spots].sort((a, b) => b.share - a.share))
  }))
})
