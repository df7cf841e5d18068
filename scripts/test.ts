/**
 * Runs the test files it is given (`npm test`): first those that may stand beside others, a process for each core, then alone those that measure time or
 * take the whole machine. Starting a process and compiling what it imports takes longer than most unit tests, so several of their files share one; relays
 * and super-nodes in processes of their own run as built. One report with one summary; the exit code is 1 when a test failed or none ran.
 */
import { existsSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { availableParallelism, tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { run } from 'node:test'
import { spec as SpecReporter, type TestEvent } from 'node:test/reporters'
import { pathToFileURL } from 'node:url'
import { build } from 'esbuild'

const TIMEOUT_MS = 300_000
const SUPER_NODE = resolve('node_modules/.cache/icn-relay/super-node.js')
const UNIT = 'test/unit/'
/** So that one with long tests does not keep the last core busy alone. */
const BATCHES_PER_CORE = 4

/** Files whose assertions depend on who else uses the machine. */
const ALONE = ['bandwidth', 'crash', 'gateway-kill', 'limits', 'load-gate', 'origins', 'overload', 'region', 'siblings', 'slow-viewers'].map(name => `test/e2e/${name}.test.ts`)

/** A line of the summary a run ends with. */
const SUMMARY = /^(tests|suites|pass|fail|cancelled|skipped|todo|duration_ms) ([\d.]+)$/

async function * inTurn (runs: readonly (() => AsyncIterable<TestEvent>)[], totals: Map<string, number>): AsyncGenerator<TestEvent> {
  let last: TestEvent | undefined
  for (const start of runs) {
    for await (const event of start()) {
      const [, name, number] = event.type === 'test:diagnostic' && event.data.nesting === 0 ? SUMMARY.exec(event.data.message) ?? [] : []
      if (name === undefined) yield event
      else {
        totals.set(name, (totals.get(name) ?? 0) + Number(number))
        last = event
      }
    }
  }
  if (last?.type !== 'test:diagnostic') return
  for (const [name, number] of totals) yield { ...last, data: { ...last.data, message: `${name} ${number}` } }
}

/** Files that import those of a batch each, one after the other, in `directory`. */
async function writeBatches (files: readonly string[], directory: string): Promise<string[]> {
  const count = Math.min(files.length, BATCHES_PER_CORE * availableParallelism())
  return await Promise.all(Array.from({ length: count }, async (_, batch) => {
    const imports = files.filter((_, position) => position % count === batch).map(file => `await import(${JSON.stringify(pathToFileURL(resolve(file)).href)})\n`)
    const path = join(directory, `unit-${batch}.test.mjs`)
    await writeFile(path, imports.join(''))
    return path
  }))
}

for (const file of ALONE) if (!existsSync(file)) throw new Error(`${file}, which is to run alone, is not there`)
process.env['RELAY_PROGRAM'] ??= resolve('dist/start.cjs')

if (process.env['SUPER_NODE_PROGRAM'] === undefined) {
  await build({ entryPoints: ['demo/super-node/main.ts'], outfile: SUPER_NODE, bundle: true, packages: 'external', platform: 'node', format: 'esm', logLevel: 'warning' })
  process.env['SUPER_NODE_PROGRAM'] = SUPER_NODE
}

const files = process.argv.slice(2)
const totals = new Map<string, number>()
const directory = await mkdtemp(join(tmpdir(), 'icn-relay-tests-'))
try {
  const batches = await writeBatches(files.filter(file => file.startsWith(UNIT)), directory)
  const runs = [
    { files: [...batches, ...files.filter(file => !file.startsWith(UNIT) && !ALONE.includes(file))], concurrency: availableParallelism() },
    { files: files.filter(file => ALONE.includes(file)), concurrency: 1 }
  ].filter(({ files: some }) => some.length > 0).map(({ files: some, concurrency }) => () => run({ files: some.map(file => resolve(file)), concurrency, timeout: TIMEOUT_MS }))
  await pipeline(Readable.from(inTurn(runs, totals)), new SpecReporter(), process.stdout)
} finally {
  await rm(directory, { recursive: true, force: true })
}
if ((totals.get('tests') ?? 0) === 0) process.stderr.write('no test ran\n')
if ((totals.get('tests') ?? 0) === 0 || (totals.get('fail') ?? 0) + (totals.get('cancelled') ?? 0) > 0) process.exitCode = 1
