import assert from 'node:assert/strict'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { pathToFileURL } from 'node:url'
import { build } from 'esbuild'
import fc from 'fast-check'
import { hotSpots, type CpuProfile } from '../../../autocannon/profile/hot-spots.ts'
import { temporaryDirectory } from '../../../tools/harness/temporary-directory.ts'

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

test('a function of a built file is where its source is', async t => {
  const directory = await temporaryDirectory(t)
  await writeFile(join(directory, 'first.ts'), 'export interface Shape { readonly size: number }\n\nexport function first (shape: Shape): number { return shape.size }\n')
  await writeFile(join(directory, 'second.ts'), "import { first } from './first.ts'\n\n\n\nexport const second = (): number => first({ size: 1 })\n")
  const outfile = join(directory, 'out/chunk.js')
  await build({ entryPoints: [join(directory, 'second.ts')], outfile, bundle: true, format: 'esm', sourcemap: 'external' })
  const lines = (await readFile(outfile, 'utf8')).split('\n')
  const frame = (functionName: string, text: string): CpuProfile['nodes'][number]['callFrame'] => {
    const lineNumber = lines.findIndex(line => line.includes(text))
    return { functionName, url: pathToFileURL(outfile).href, lineNumber, columnNumber: lines[lineNumber]?.indexOf('(') ?? 0 }
  }
  const nodes = [{ id: 1, callFrame: frame('first', 'function first') }, { id: 2, callFrame: frame('second', 'second =') }]
  const places = hotSpots({ nodes, samples: [1, 2], timeDeltas: [2, 1] }, 5).map(({ place }) => place.replace(/ .*[/]/, ' '))
  assert.deepEqual(places, ['first first.ts:3', 'second second.ts:5'])
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
