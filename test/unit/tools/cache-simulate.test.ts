import { test } from 'node:test'
import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { gzipSync } from 'node:zlib'
import fc from 'fast-check'
import { HighestSet, nextUses, optimum } from '../../../tools/cache-simulate/belady.ts'
import { generate, GENERATORS } from '../../../tools/cache-simulate/generators.ts'
import { plotOf } from '../../../tools/cache-simulate/plot.ts'
import { oracleGeneral, parseColumns, readCsv, readOracleGeneral, readTrace, TraceError } from '../../../tools/cache-simulate/readers.ts'
import { replay } from '../../../tools/cache-simulate/replay.ts'
import { simulate, STANDARD, tableOf } from '../../../tools/cache-simulate/table.ts'
import { TraceBuilder, type Trace } from '../../../tools/cache-simulate/trace.ts'
import { runToEnd } from '../../../tools/harness/processes.ts'
import { temporaryDirectory } from '../../../tools/harness/temporary-directory.ts'

function traceOf (ids: string, sizeOf: (id: string) => number = () => 1): Trace {
  const builder = new TraceBuilder()
  for (const id of ids) builder.add(id, sizeOf(id))
  return builder.finish('tiny')
}

const csv = async (text: string, columns?: string): Promise<Trace> => await readCsv(Readable.from([text]), 'x.csv', columns === undefined ? undefined : parseColumns(columns))

test('hits by hand: lru and the optimum with room for three of one size', () => {
  // Room for abc. d takes the place of a, a that of b, b that of c, c that of d: no hit. The optimum leaves d out.
  const trace = traceOf('abcdabcd')
  assert.deepEqual(replay(trace, 'lru', 3), { requests: 8, hits: 0, bytes: 8, hitBytes: 0 })
  assert.deepEqual(optimum(trace, 3), { requests: 8, hits: 3, bytes: 8, hitBytes: 3 })
})

test('hits by hand: bytes and not counts', () => {
  // A has 6 bytes of 10: with b and c it fits, with B it does not.
  const trace = traceOf('AbcABbcA', id => id === 'A' || id === 'B' ? 6 : 1)
  // lru: the second A is a hit; B takes the place of b, c and A; b and c come in beside it; A takes the place of B. The optimum leaves B out.
  assert.deepEqual(replay(trace, 'lru', 10), { requests: 8, hits: 1, bytes: 28, hitBytes: 6 })
  assert.deepEqual(optimum(trace, 10), { requests: 8, hits: 4, bytes: 28, hitBytes: 14 })
})

test('an object larger than the cache is a miss each time and pushes nothing out', () => {
  assert.deepEqual(replay(traceOf('abXab', id => id === 'X' ? 5 : 1), 's3-fifo', 4), { requests: 5, hits: 2, bytes: 9, hitBytes: 2 })
})

test('with objects of one size the optimum is what trying everything finds, and no policy beats it', () => {
  const best = (ids: readonly number[], room: number, cached: readonly number[] = []): number => {
    const [first, ...rest] = ids
    if (first === undefined) return 0
    if (cached.includes(first)) return 1 + best(rest, room, cached)
    const choices = cached.length < room ? [[...cached, first]] : [cached, ...cached.map(gone => [...cached.filter(id => id !== gone), first])]
    return Math.max(...choices.map(after => best(rest, room, after)))
  }
  fc.assert(fc.property(fc.array(fc.nat(4), { minLength: 1, maxLength: 9 }), fc.integer({ min: 1, max: 3 }), (ids, room) => {
    const trace = traceOf(ids.join(''))
    const { hits } = optimum(trace, room)
    assert.equal(hits, best(ids, room))
    for (const policy of STANDARD.policies) assert.ok(replay(trace, policy, room).hits <= hits)
  }), { numRuns: 100 })
})

test('the highest of a set is found after any additions and removals', () => {
  fc.assert(fc.property(fc.array(fc.tuple(fc.boolean(), fc.nat(40_000)), { maxLength: 100 }), steps => {
    const set = new HighestSet(40_001)
    const model = new Set<number>()
    for (const [adds, number] of steps) {
      if (adds) set.add(number)
      else set.delete(number)
      if (adds) model.add(number)
      else model.delete(number)
      assert.equal(set.highest, model.size === 0 ? undefined : Math.max(...model))
      assert.equal(set.has(number), adds)
    }
  }), { numRuns: 50 })
})

test('csv: time, object, size; a header of ours or one that is told; empty lines; other columns and delimiters', async () => {
  const expected = { requests: Uint32Array.of(0, 1, 0), sizes: Float64Array.of(10, 20), empty: 0, resized: 0 }
  for (const trace of [
    await csv('1,a,10\n2,b,20\n\n3,a,10\n'),
    await csv('time,id,size\n1,a,10\r\n2,b,20\r\n3,a,10'),
    await csv('who;when;bytes;what\nx;1;10;a\nx;2;20;b\nx;3;10;a', 'time-col=2,obj-id-col=4,obj-size-col=3,delimiter=;,has-header=true'),
    await csv('a,10\nb,20\na,10', 'obj-id-col=1,obj-size-col=2,delimiter=,'),
    await csv('1\ta\t10\n2\tb\t20\n3\ta\t10', 'time-col=1,delimiter=\\t')
  ]) assert.deepEqual({ ...trace, name: '' }, { name: '', ...expected })
  assert.deepEqual((await csv('a\nb\na', 'obj-id-col=1')).sizes, Float64Array.of(1, 1), 'without sizes each object has one byte')
})

test('csv: what gives an object another size is counted, and what has none is left out', async () => {
  const trace = await csv('1,a,10\n2,b,0\n3,a,12')
  assert.deepEqual([trace.requests.length, trace.sizes[0], trace.empty, trace.resized], [2, 10, 1, 1])
})

for (const [name, text, columns, message] of [
  ['a size that is none', '1,a,10\n2,b,ten', undefined, 'x.csv, line 2: the size "ten" is not a whole number of bytes'],
  ['a negative size', '1,a,-1', undefined, 'x.csv, line 1: the size "-1" is not a whole number of bytes'],
  ['a size beyond what numbers hold', '1,a,99999999999999999999', undefined, 'x.csv, line 1: the size "99999999999999999999" is not a whole number of bytes'],
  ['a line cut short', '1,a,10\n2', undefined, 'x.csv, line 2: no object in column 2'],
  ['a line without its size', '1,a,10\n2,b', undefined, 'x.csv, line 2: the size "" is not a whole number of bytes'],
  ['nothing', '', undefined, 'x.csv: there are no requests'],
  ['a column that is none', '1,a,1', 'obj-id-col=x', 'columns: obj-id-col=x is not the number of a column'],
  ['a parameter that is none', '1,a,1', 'colour=1', 'columns: "colour" is none of time-col, obj-id-col, obj-size-col, delimiter, has-header, obj-id-is-num']
] as const) {
  test(`csv refuses ${name}, and says where`, async () => {
    await assert.rejects(async () => await csv(text, columns), error => error instanceof TraceError && error.message === message)
  })
}

test('oracleGeneral: what is written is read again, in pieces of any length', async () => {
  const trace = generate('zipf', { requests: 500, objects: 50, alpha: 1, seed: 3, bytes: [1, 1_000] })
  const bytes = Buffer.concat(Array.from(oracleGeneral(trace, nextUses(trace))))
  assert.equal(bytes.length, 500 * 24)
  await fc.assert(fc.asyncProperty(fc.integer({ min: 1, max: 5_000 }), async length => {
    const pieces = Array.from({ length: Math.ceil(bytes.length / length) }, (_, n) => bytes.subarray(n * length, (n + 1) * length))
    const read = await readOracleGeneral(Readable.from(pieces), trace.name)
    assert.deepEqual(read, trace)
  }), { numRuns: 10 })
})

test('oracleGeneral: a record by hand, an object beyond 2^53, a file cut short', async () => {
  const record = Buffer.alloc(24)
  record.writeUInt32LE(7, 0)
  record.writeBigUInt64LE(2n ** 64n - 1n, 4)
  record.writeUInt32LE(4_096, 12)
  record.writeBigInt64LE(-1n, 16)
  const trace = await readOracleGeneral(Readable.from([record, record]), 'x')
  assert.deepEqual([trace.requests, trace.sizes], [Uint32Array.of(0, 0), Float64Array.of(4_096)])
  assert.equal((await readOracleGeneral(Readable.from([record, record]), 'x', 1)).requests.length, 1)
  await assert.rejects(async () => await readOracleGeneral(Readable.from([record, record.subarray(0, 10)]), 'x'), { message: 'x, byte 24: a record has 24 bytes, and the file ends after 10' })
})

test('files: gzip is read, zstd and what nobody can tell are refused, and so is a gzip that is cut short', async t => {
  const directory = await temporaryDirectory(t)
  const file = (name: string): string => join(directory, name)
  await writeFile(file('a.csv.gz'), gzipSync('1,a,10\n2,a,10\n'))
  assert.equal((await readTrace(file('a.csv.gz'))).requests.length, 2)
  await writeFile(file('cut.csv.gz'), gzipSync('1,a,10\n2,a,10\n').subarray(0, 20))
  await assert.rejects(async () => await readTrace(file('cut.csv.gz')), /unexpected end of file/)
  await assert.rejects(async () => await readTrace(file('b.zst')), /decompress it first/)
  await assert.rejects(async () => await readTrace(file('c.dat')), /--format csv or oracleGeneral/)
  await assert.rejects(async () => await readTrace(file('missing.csv')), { code: 'ENOENT' })
  await assert.rejects(async () => await readTrace(file('missing.csv.gz')), { code: 'ENOENT' })
})

test('generated traces are the same for the same seed, and what their names say', () => {
  const options = { requests: 5_000, objects: 200, alpha: 1, seed: 5, bytes: [1_000, 10_000] } as const
  const traces = new Map(GENERATORS.map(name => [name, generate(name, options)]))
  for (const [name, trace] of traces) {
    assert.deepEqual(generate(name, options), trace)
    assert.equal(trace.requests.length, 5_000)
    assert.ok(trace.sizes.every(size => size >= 1_000 && size <= 10_000))
  }
  const onceIn = (name: typeof GENERATORS[number]): number => {
    const counts = new Map<number, number>()
    for (const object of traces.get(name)?.requests ?? []) counts.set(object, (counts.get(object) ?? 0) + 1)
    return Array.from(counts.values()).filter(count => count === 1).length
  }
  assert.ok(onceIn('zipf') < 50)
  assert.ok(onceIn('one-hit') > 900, 'a fifth of the requests')
  assert.ok((traces.get('drift')?.sizes.length ?? 0) > 260, 'new objects come')
  assert.ok((traces.get('scan')?.sizes.length ?? 0) >= 235, 'forty more, which the scans ask for')
})

test('the default misses no more than lru on any generated trace, and a tenth less where one request in five is for what nobody wants again', () => {
  for (const name of GENERATORS) {
    const trace = generate(name, { requests: 20_000, objects: 2_000, alpha: 1, seed: 1, bytes: [1_000_000, 10_000_000] })
    const { rows } = simulate(trace, { policies: ['lru', 's3-fifo'], shares: [0.01, 0.1], optimum: false })
    for (const { outcomes, share } of rows) {
      const missesOf = (policy: 'lru' | 's3-fifo'): number => trace.requests.length - (outcomes.get(policy)?.hits ?? NaN)
      const [lru, best] = [missesOf('lru'), missesOf('s3-fifo')]
      assert.ok(best <= lru * (name === 'one-hit' && share < 0.1 ? 0.9 : 1), `${name}, ${share}: ${best} misses, lru ${lru}`)
    }
  }
})

test('table and plot of a tiny trace', () => {
  const simulation = simulate(traceOf('abcdabcd'), { ...STANDARD, policies: ['lru', 'sieve'], shares: [0.5, 0.75] })
  assert.equal(tableOf(simulation), [
    '**tiny**: 8 requests, 4 objects, 4 B.', '',
    '| capacity | lru | sieve | optimum |',
    '| --- | --- | --- | --- |',
    '| 50 %, 2 B | 0.0 / 0.0 | 0.0 / 0.0 (−0.0 %) | 25.0 / 25.0 (−25.0 %) |',
    '| 75 %, 3 B | 0.0 / 0.0 | 0.0 / 0.0 (−0.0 %) | 37.5 / 37.5 (−37.5 %) |'
  ].join('\n'))
  const svg = plotOf([simulation])
  assert.equal((svg.match(/<polyline/g) ?? []).length, 3)
  assert.ok(!svg.includes('NaN') && !svg.includes('undefined'))
})

test('the command: a table and a plot of a file, and where a file is wrong', async t => {
  const directory = await temporaryDirectory(t)
  await writeFile(join(directory, 'good.csv'), 'time,id,size\n1,a,10\n2,b,20\n3,a,10\n')
  await writeFile(join(directory, 'bad.csv'), '1,a,10\n2,b,x\n')
  const { code, stdout, stderr } = await runToEnd('tools/cache-simulate/main.ts', [join(directory, 'good.csv'), join(directory, 'bad.csv'), '--svg', join(directory, 'plot.svg'), '--capacities', '50'])
  assert.match(stdout, /good\.csv\*\*: 3 requests, 2 objects, 30 B\./)
  assert.match(stderr, /bad\.csv, line 2: the size "x" is not a whole number of bytes/)
  assert.equal(code, 1)
})
