import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import fc from 'fast-check'
import { UsageError, optionHelp, readArguments, settingsOf } from '../../../autocannon/arguments.ts'
import { HELP, load } from '../../../autocannon/commands.ts'
import { TimeHistogram, mergedHistogram } from '../../../autocannon/histogram.ts'
import { hitRatioBetween, parseMetrics, total } from '../../../autocannon/relay-counters.ts'
import { requestSource, syntheticRequests, type Mix } from '../../../autocannon/request-mix.ts'
import { completeResult, isClean, type Measured } from '../../../autocannon/result.ts'
import { loadSettings } from '../../../autocannon/rig.ts'
import { SCENARIOS } from '../../../autocannon/scenarios/index.ts'
import { markdownTable, resultTable } from '../../../autocannon/table.ts'
import { expectedBody } from '../../../autocannon/verify.ts'
import { Zipf } from '../../../autocannon/zipf.ts'
import { seededRandom } from '../../../demo/super-node/faults.ts'
import { syntheticShard } from '../../../demo/super-node/server.ts'

suite('arguments', () => {
  const DEFINITIONS = {
    count: { kind: 'number', min: 1, max: 10, whole: true, default: 3, help: 'how many' },
    share: { kind: 'number', min: 0, max: 1, help: 'of all' },
    transport: { kind: 'choice', choices: ['http', 'websocket'], default: 'http', help: 'by which way' },
    name: { kind: 'text', help: 'of it' },
    set: { kind: 'list', help: 'of settings' },
    loud: { kind: 'flag', help: 'say more' }
  } as const

  test('words, values and defaults', () => {
    const { words, options } = readArguments(['one', '--count', '7', '--set', 'a', '--loud', 'two', '--set=b', '--transport', 'websocket'], DEFINITIONS)
    assert.deepEqual(words, ['one', 'two'])
    assert.deepEqual(options, { count: 7, share: undefined, transport: 'websocket', name: undefined, set: ['a', 'b'], loud: true })
    assert.deepEqual(readArguments([], DEFINITIONS).options, { count: 3, share: undefined, transport: 'http', name: undefined, set: [], loud: false })
  })

  test('what cannot be meant is named, with what would be right', () => {
    const cases: ReadonlyArray<readonly [readonly string[], RegExp]> = [
      [['--speed', '1'], /unknown option --speed; known are --count --share --transport --name --set --loud/],
      [['-x'], /unknown option -x/],
      [['--count'], /--count needs a value/],
      [['--count', 'many'], /--count is a whole number from 1 to 10, not "many"/],
      [['--count', ''], /--count is a whole number/],
      [['--count', '2.5'], /--count is a whole number/],
      [['--count', '11'], /from 1 to 10, not "11"/],
      [['--share', '-0.1'], /--share is a number from 0 to 1|--share needs a value/],
      [['--share', 'NaN'], /--share is a number/],
      [['--transport', 'train'], /--transport is http or websocket, not "train"/],
      [['--loud=yes'], /--loud takes no value/]
    ]
    for (const [args, message] of cases) assert.throws(() => readArguments(args, DEFINITIONS), error => error instanceof UsageError && message.test(error.message), args.join(' '))
  })

  test('no command line does anything but be read or refused', () => {
    fc.assert(fc.property(fc.array(fc.oneof(fc.string(), fc.constantFrom('--count', '--loud', '--transport', '--', '-', '--no-loud', '--__proto__', '--constructor'))), args => {
      try {
        const { options } = readArguments(args, DEFINITIONS)
        assert.ok(options.count >= 1 && options.count <= 10)
      } catch (error) {
        assert.ok(error instanceof UsageError, String(error))
      }
    }))
  })

  test('the commands of npm run load refuse what they do not understand, before anything starts', async () => {
    const cases: ReadonlyArray<readonly [readonly string[], RegExp]> = [
      [['hit-2mb'], /unknown scenario "hit-2mb"; known are hit-1mb .* viewers all/],
      [['all', 'hit-2mb'], /unknown scenario/],
      [['hit-1mb', '--speed', '3'], /unknown option --speed/],
      [['hit-1mb', '--duration', 'long'], /--duration is a number from/],
      [['--duration', '3'], /no scenario/],
      [['hit-1mb', '--program', 'x', '--set', 'cache'], /--set has the form/],
      [['viewers', 'hit-1mb'], /not to be mixed with hit-1mb/],
      [['viewers', '--connections', '3'], /unknown option --connections/],
      [['viewers', '--transport', 'train'], /webtransport or websocket or http/]
    ]
    for (const [args, message] of cases) await assert.rejects(load(args), error => error instanceof UsageError && message.test(error.message), args.join(' '))
    for (const name of [...SCENARIOS.map(scenario => scenario.name), 'viewers']) assert.match(HELP, new RegExp(`\\b${name}\\b`))
  })

  test('help names every option', () => {
    const help = optionHelp(DEFINITIONS)
    for (const name of Object.keys(DEFINITIONS)) assert.match(help, new RegExp(`--${name}\\b`))
    assert.match(help, /--count <n>\s+how many \(3\)/)
  })

  test('settings of the relay: JSON where it is, else text', () => {
    assert.deepEqual(settingsOf(['cache.ram_bytes=0', 'cache.path=/tmp/x', 'log.level=warn', 'transport.engine=off']), {
      cache: { ram_bytes: 0, path: '/tmp/x' }, log: { level: 'warn' }, transport: { engine: 'off' }
    })
    for (const bad of ['cache', 'cache.ram', '=1', 'a.b.c=1', 'Cache.x=1']) assert.throws(() => settingsOf([bad]), UsageError)
  })
})

suite('popularity', () => {
  test('every random number has one rank, popular ones come first, and all ranks together are everything', () => {
    fc.assert(fc.property(fc.integer({ min: 1, max: 2_000 }), fc.double({ min: 0, max: 3, noNaN: true }), fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }), (ranks, exponent, random) => {
      const zipf = new Zipf(ranks, exponent)
      const rank = zipf.rank(random)
      assert.ok(Number.isInteger(rank) && rank >= 0 && rank < ranks)
      assert.equal(zipf.rank(0), 0)
      let upTo = 0
      for (let before = 0; before < rank; before++) upTo += zipf.probability(before)
      // The rank is the one whose share of [0, 1) holds the number.
      assert.ok(random >= upTo - 1e-9 && random <= upTo + zipf.probability(rank) + 1e-9)
      let all = 0
      for (let one = 0; one < ranks; one++) {
        all += zipf.probability(one)
        if (one > 0) assert.ok(zipf.probability(one) <= zipf.probability(one - 1) + 1e-12)
      }
      assert.ok(Math.abs(all - 1) < 1e-9)
    }))
  })

  test('a hundred thousand draws are as often as they should be', () => {
    const zipf = new Zipf(50, 0.9)
    const random = seededRandom(7)
    const counts = new Array<number>(50).fill(0)
    for (let draw = 0; draw < 100_000; draw++) {
      const rank = zipf.rank(random())
      counts[rank] = (counts[rank] ?? 0) + 1
    }
    for (const [rank, count] of counts.entries()) {
      const expected = zipf.probability(rank) * 100_000
      // Five standard deviations of a binomial count.
      assert.ok(Math.abs(count - expected) < 5 * Math.sqrt(expected) + 1, `rank ${rank}: ${count} of ${expected}`)
    }
  })

  test('exponent 0 asks for all alike; what is not a distribution is refused', () => {
    const flat = new Zipf(4, 0)
    assert.deepEqual([0, 0.25, 0.5, 0.75].map(random => flat.rank(random)), [0, 1, 2, 3])
    for (const [ranks, exponent] of [[0, 1], [1.5, 1], [-1, 1], [10_000_001, 1], [10, -1], [10, NaN], [10, 11]] as const) assert.throws(() => new Zipf(ranks, exponent), RangeError)
  })
})

suite('request mixes', () => {
  const requests = syntheticRequests(25, 1_000, 'mix')

  test('a list goes round, each slot from another place', () => {
    const mix: Mix = { kind: 'rotate', requests }
    const source = requestSource(mix, 1, 3)
    assert.deepEqual(Array.from({ length: 50 }, () => source().path), Array.from({ length: 50 }, (_, index) => requests[(3 + index) % 25]?.path))
  })

  test('fresh objects are never asked for twice, whatever the slot and the seed', () => {
    const seen = new Set<string>()
    for (const seed of [1, 2]) {
      for (const slot of [0, 1, 11]) {
        const source = requestSource({ kind: 'fresh', fresh: { bytes: 1_000, label: 'f' } }, seed, slot)
        for (let draw = 0; draw < 30; draw++) seen.add(source().path)
      }
    }
    assert.equal(seen.size, 180)
  })

  test('the same seed and slot draw the same, and the share of misses is kept', () => {
    const mix: Mix = { kind: 'zipf', requests, exponent: 0.9, freshShare: 0.05, fresh: { bytes: 1_000, label: 'f' } }
    const [one, same, other] = [requestSource(mix, 5, 2), requestSource(mix, 5, 2), requestSource(mix, 5, 3)].map(source => Array.from({ length: 4_000 }, () => source().path))
    assert.deepEqual(one, same)
    assert.notDeepEqual(one, other)
    const fresh = one?.filter(path => path.includes('-f-')) ?? []
    assert.ok(fresh.length > 130 && fresh.length < 270, `${fresh.length} of 4000`)
  })

  test('an empty list and impossible shares are refused', () => {
    assert.throws(() => requestSource({ kind: 'rotate', requests: [] }, 1, 0), RangeError)
    assert.throws(() => requestSource({ kind: 'zipf', requests, exponent: 1, freshShare: 2, fresh: { bytes: 1, label: 'f' } }, 1, 0), RangeError)
  })

  test('every scenario can draw, and knows the true body of what it draws', () => {
    assert.equal(new Set(SCENARIOS.map(({ name }) => name)).size, SCENARIOS.length)
    for (const { name, mix, expect } of SCENARIOS) {
      const shape = requestSource(mix, 1, 0)()
      const body = expectedBody(shape, expect.status)
      assert.equal(body?.length, expect.bytes, name)
    }
    const ranged = expectedBody({ path: '/shards/syn-1000-x/shard_3.bin', headers: { range: 'bytes=10-19' } }, 206)
    assert.deepEqual(ranged, syntheticShard('syn-1000-x', 3).subarray(10, 20))
    assert.equal(expectedBody({ path: '/health' }, 200), undefined)
  })
})

suite('histograms', () => {
  test('merging what several processes recorded is recording it all in one', () => {
    fc.assert(fc.property(fc.array(fc.array(fc.double({ min: 0, max: 100_000, noNaN: true }), { maxLength: 60 }), { minLength: 1, maxLength: 5 }), parts => {
      const one = new TimeHistogram()
      const texts = parts.map(part => {
        const own = new TimeHistogram()
        for (const ms of part) {
          own.record(ms)
          one.record(ms)
        }
        return own.encode()
      })
      assert.deepEqual(mergedHistogram(texts).times(), one.times())
    }), { numRuns: 30 })
  })

  test('a quantile is right to three digits', () => {
    const histogram = new TimeHistogram()
    for (let ms = 1; ms <= 10_000; ms++) histogram.record(ms)
    const { count, p50, p95, p99, p999, max, mean } = histogram.times()
    assert.equal(count, 10_000)
    for (const [value, expected] of [[p50, 5_000], [p95, 9_500], [p99, 9_900], [p999, 9_990], [max, 10_000], [mean, 5_000.5]] as const) assert.ok(Math.abs(value - expected) <= expected * 0.002, `${value} for ${expected}`)
  })

  test('nothing recorded is all zero; what is not a time is refused; an hour is the most', () => {
    assert.deepEqual(new TimeHistogram().times(), { count: 0, mean: 0, p50: 0, p95: 0, p99: 0, p999: 0, max: 0 })
    for (const bad of [NaN, -1, -Infinity]) assert.throws(() => { new TimeHistogram().record(bad) }, RangeError)
    const histogram = new TimeHistogram()
    histogram.record(Infinity)
    histogram.record(1e12)
    assert.ok(histogram.quantile(1) <= 3_600_000 * 1.002)
    assert.throws(() => { histogram.merge('no histogram') })
  })
})

suite('results', () => {
  const measured: Measured = {
    scenario: 'hit-1mb',
    startedAt: '2025-01-01T00:00:00.000Z',
    settings: { connections: 4 },
    seconds: 2,
    requests: 10,
    statuses: { 200: 8, 304: 1, 503: 1 },
    unexpected: 2,
    errors: 0,
    errorTexts: [],
    bytes: 8_000_000,
    latencyMs: { count: 10, mean: 1, p50: 1, p95: 2, p99: 3, p999: 4, max: 5 },
    firstByteMs: null,
    servers: [{ name: 'relay', cpuMs: 12, rssStartBytes: 1, rssEndBytes: 1, rssMaxBytes: 100_000_000 }, { name: 'gateway', cpuMs: 4, rssStartBytes: 1, rssEndBytes: 1, rssMaxBytes: 1 }],
    hitRatio: 0.9,
    verified: { bodies: 20, wrong: 0 },
    generator: { processes: 1, cpuMs: 500, busiest: 0.25, loopDelayP99Ms: null }
  }

  test('rates and costs follow from what was measured', () => {
    const result = completeResult(measured)
    assert.deepEqual([result.non2xx, result.requestsPerSecond, result.mbPerSecond, result.serverCpuMsPerMb, result.serverCpuMsPerRequest], [2, 5, 4, 2, 1.6])
    const idle = completeResult({ ...measured, requests: 0, bytes: 0, seconds: 0, statuses: {} })
    assert.deepEqual([idle.requestsPerSecond, idle.mbPerSecond, idle.serverCpuMsPerMb, idle.serverCpuMsPerRequest], [0, 0, null, null])
  })

  test('a run is clean when every answer was right', () => {
    const clean = completeResult({ ...measured, unexpected: 0 })
    assert.equal(isClean(clean), true)
    for (const change of [{ unexpected: 1 }, { errors: 1 }, { requests: 0 }, { verified: { bodies: 1, wrong: 1 } }]) assert.equal(isClean({ ...clean, ...change }), false)
  })

  test('a table has a line for every result, or a column when they are few', () => {
    const result = completeResult(measured)
    const wide = resultTable(Array.from({ length: 5 }, () => result)).split('\n')
    assert.equal(wide.length, 7)
    assert.match(wide[0] ?? '', /^\| scenario +\| req\/s .*p99\.9.*CPU ms\/MB/)
    assert.equal(new Set(wide.map(line => line.length)).size, 1)
    const tall = resultTable([result])
    assert.match(tall, /^\| scenario +\| hit-1mb \|\n\| -+ \| -+ \|\n\| req\/s +\| 5\.00/)
    assert.doesNotMatch(tall, /first byte/)
    assert.equal(markdownTable(['a'], [['longer']]), '| a      |\n| ------ |\n| longer |')
  })
})

suite('what the relay tells', () => {
  const text = '# HELP a x\n# TYPE a counter\na{tier="disk"} 3\na{tier="ram"} 4\nab 9\nicn_relay_cache_hits_total{tier="ram"} 6\nicn_relay_cache_misses_total{collapsed="false"} 2\nnan NaN\n\nbroken'

  test('series of a name together, and only of that name', () => {
    const counters = parseMetrics(text)
    assert.equal(total(counters, 'a'), 7)
    assert.equal(total(counters, 'a', 'tier="ram"'), 4)
    assert.equal(total(counters, 'ab'), 9)
    assert.equal(total(counters, 'none'), 0)
  })

  test('the hit ratio between two readings', () => {
    assert.equal(hitRatioBetween(new Map(), parseMetrics(text)), 0.75)
    assert.equal(hitRatioBetween(parseMetrics(text), parseMetrics(text)), null)
  })

  test('settings of load tests hold no key that is reserved, and later layers win', () => {
    const settings = loadSettings({ cache: { max_bytes: 1, ram_bytes: 2 } }, undefined, { cache: { max_bytes: 3 }, admin: { requests_per_minute: 5 } })
    assert.deepEqual(settings['cache'], { integrity: 'digest', max_bytes: 3, ram_bytes: 2 })
    assert.equal(settings['admin']?.['requests_per_minute'], 5)
    assert.equal(settings['transport']?.['max_sessions_per_ip'], 100_000)
  })
})
