/**
 * Runs the test files it is given (`npm test`): first those that may stand beside others, a file for each core, then alone those that measure time or take
 * the whole machine. Relays in processes of their own run as built, which is what ships and starts sooner. One report with one summary; the exit code is 1
 * when a test failed or none ran.
 */
import { existsSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { resolve } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { run } from 'node:test'
import { spec as SpecReporter, type TestEvent } from 'node:test/reporters'

const TIMEOUT_MS = 300_000

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

for (const file of ALONE) if (!existsSync(file)) throw new Error(`${file}, which is to run alone, is not there`)
process.env['RELAY_PROGRAM'] ??= resolve('dist/server.js')

const files = process.argv.slice(2)
const totals = new Map<string, number>()
const runs = [
  { files: files.filter(file => !ALONE.includes(file)), concurrency: availableParallelism() },
  { files: files.filter(file => ALONE.includes(file)), concurrency: 1 }
].filter(({ files: some }) => some.length > 0).map(({ files: some, concurrency }) => () => run({ files: some.map(file => resolve(file)), concurrency, timeout: TIMEOUT_MS }))
await pipeline(Readable.from(inTurn(runs, totals)), new SpecReporter(), process.stdout)
if ((totals.get('tests') ?? 0) === 0) process.stderr.write('no test ran\n')
if ((totals.get('tests') ?? 0) === 0 || (totals.get('fail') ?? 0) + (totals.get('cancelled') ?? 0) > 0) process.exitCode = 1
