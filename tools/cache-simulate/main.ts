/*
 * Replays traces through the relay's eviction policies: hit ratios by policy and capacity against Belady's optimum, as a table and a plot.
 * `npm run cache:simulate` prints the standard table; `npm run cache:simulate -- --help` says what else there is.
 */
import { writeFile } from 'node:fs/promises'
import { parseArgs } from 'node:util'
import { EVICTION_POLICIES, type EvictionPolicy } from '../../src/storage/orders/orders.ts'
import { nextUses } from './belady.ts'
import { generate, GENERATORS, type GeneratorName, type GeneratorOptions } from './generators.ts'
import { plotOf } from './plot.ts'
import { FORMATS, oracleGeneral, parseColumns, readTrace, TraceError, type TraceFormat } from './readers.ts'
import { simulate, STANDARD, tableOf } from './table.ts'
import type { Trace } from './trace.ts'

const HELP = `npm run cache:simulate -- [options] [trace…]

  trace                  a file: CSV "time,id,size" (.csv, .txt, .tsv) or libCacheSim's oracleGeneral (.bin, uncompressed), also .gz
  --format               csv or oracleGeneral, where the name does not say it
  --columns              of a CSV, as libCacheSim has them: time-col=1,obj-id-col=2,obj-size-col=3,delimiter=;,has-header=true
  --limit                requests that are read of each file at most
  --generate             ${GENERATORS.join(', ')}; may be given more than once
  --requests, --objects  of a generated trace (300000, 20000)
  --alpha, --seed        of its Zipf law (1), of its chance (1)
  --sizes                bytes of its objects: one number, or least-most (1000000-10000000)
  --policies             ${EVICTION_POLICIES.join(',')}
  --capacities           percent of the footprint (0.1,1,5,10)
  --no-optimum           leaves out Belady's optimum
  --svg                  file of the plot (cache-simulate.svg)
  --write                writes the one trace as oracleGeneral to a file, for another simulator, and ends

Without traces: all that are generated, plotted to docs/eviction.svg.
`

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    help: { type: 'boolean', default: false },
    format: { type: 'string' },
    columns: { type: 'string' },
    limit: { type: 'string' },
    generate: { type: 'string', multiple: true, default: [] },
    requests: { type: 'string', default: '300000' },
    objects: { type: 'string', default: '20000' },
    alpha: { type: 'string', default: '1' },
    seed: { type: 'string', default: '1' },
    sizes: { type: 'string', default: '1000000-10000000' },
    policies: { type: 'string', default: EVICTION_POLICIES.join(',') },
    capacities: { type: 'string', default: '0.1,1,5,10' },
    'no-optimum': { type: 'boolean', default: false },
    svg: { type: 'string' },
    write: { type: 'string' }
  }
})

function numberIn (text: string, option: string, least = 1): number {
  const value = Number(text)
  if (text.trim() === '' || !Number.isFinite(value) || value < least) throw new TraceError(`--${option} ${text} is not a number from ${least} on`)
  return value
}

function oneOf<T extends string> (text: string, known: readonly T[], option: string): T {
  const found = known.find(name => name === text)
  if (found === undefined) throw new TraceError(`--${option} ${text} is none of ${known.join(', ')}`)
  return found
}

function generatorOptions (): GeneratorOptions {
  const [least = '', most = least] = values.sizes.split('-')
  return {
    requests: numberIn(values.requests, 'requests'),
    objects: numberIn(values.objects, 'objects'),
    alpha: numberIn(values.alpha, 'alpha', 0),
    seed: numberIn(values.seed, 'seed', 0),
    bytes: [numberIn(least, 'sizes'), numberIn(most, 'sizes')]
  }
}

async function * traces (): AsyncGenerator<Trace> {
  const generated: readonly GeneratorName[] = values.generate.length > 0 ? values.generate.map(name => oneOf(name, GENERATORS, 'generate')) : positionals.length > 0 ? [] : GENERATORS
  for (const name of generated) yield generate(name, generatorOptions())
  const format: TraceFormat | undefined = values.format === undefined ? undefined : oneOf(values.format, FORMATS, 'format')
  const columns = values.columns === undefined ? undefined : parseColumns(values.columns)
  const limit = values.limit === undefined ? undefined : numberIn(values.limit, 'limit')
  for (const file of positionals) yield await readTrace(file, { format, columns, limit })
}

async function main (): Promise<void> {
  const policies: readonly EvictionPolicy[] = values.policies.split(',').map(name => oneOf(name.trim(), EVICTION_POLICIES, 'policies'))
  const shares = values.capacities.split(',').map(text => numberIn(text.trim().replace(/ ?%$/, ''), 'capacities', Number.MIN_VALUE) / 100)
  const simulations = []
  for await (const trace of traces()) {
    if (values.write !== undefined) {
      await writeFile(values.write, oracleGeneral(trace, nextUses(trace)))
      console.log(`${values.write}: ${trace.requests.length} requests, ${trace.sizes.length} objects`)
      return
    }
    const simulation = simulate(trace, { ...STANDARD, policies, shares, optimum: !values['no-optimum'] })
    console.log(`${tableOf(simulation)}\n`)
    simulations.push(simulation)
  }
  console.log('Request hit ratio / byte hit ratio, percent, and how many more or fewer requests miss than with lru.')
  const isStandard = positionals.length === 0 && values.generate.length === 0
  const svg = values.svg ?? (isStandard ? 'docs/eviction.svg' : 'cache-simulate.svg')
  await writeFile(svg, plotOf(simulations))
  console.log(`Plot: ${svg}`)
}

try {
  if (values.help) console.log(HELP)
  else await main()
} catch (error) {
  console.error(error instanceof TraceError ? error.message : error)
  process.exitCode = 1
}
