/**
 * Runs the test files it is given (`npm test`): first those that may stand beside others, a process for each core and one more for whole programs, then alone those that measure time or
 * take the whole machine. Starting a process and compiling what it imports takes longer than most tests, so several files share one, except those of whole
 * programs; relays and super-nodes in processes of their own run as built. One report with one summary; the exit code is 1 when a test failed or none ran.
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

/** Of a file by itself: several times what the longest takes on a machine that does much else beside. */
const TIMEOUT_MS = 600_000
/** Of a process that runs several files. */
const BATCH_TIMEOUT_MS = 900_000
const SUPER_NODE = resolve('node_modules/.cache/icn-relay/super-node.js')
/** Folders whose files share processes with others of the same. */
const SHARING = [['test/unit/'], ['test/plugins/', 'test/contracts/']]
/** Files of these folders that measure their own process. */
const UNSHARED = ['test/contracts/fails-hostile.test.ts']
/** So that one with long tests does not keep the last core busy alone. */
const BATCHES_PER_CORE = 4
/** Files of tens of seconds, the longest first: no batch gets two before each has one, and none begins last. */
const LONG = [
  ...['slow-viewers', 'browsers-player', 'gateway-abuse', 'newer-glibc', 'repair', 'load', 'player-transport', 'soak', 'browsers', 'restart', 'kill-walk', 'player', 'partly-filled', 'dashboard'].map(name => `test/e2e/${name}.test.ts`),
  ...['plugins/viewer-tls', 'plugins/bandwidth', 'plugins/overload', 'contracts/transport-fails-websocket', 'plugins/metrics', 'contracts/openapi', 'plugins/viewer-auth', 'contracts/client-package', 'plugins/viewer-http', 'contracts/openapi-clients', 'plugins/limits'].map(name => `test/${name}.test.ts`)
]

/** Files of whole programs at the same time: a third of what they take is waiting. */
const PROGRAMS = availableParallelism() + 1

/** Files whose assertions depend on who else uses the machine. */
const ALONE = ['bandwidth', 'gateway-kill', 'load-gate', 'origins', 'overload', 'region'].map(name => `test/e2e/${name}.test.ts`)

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

/** The long ones first. */
function inOrder (files: readonly string[]): string[] {
  return [...LONG.filter(file => files.includes(file)), ...files.filter(file => !LONG.includes(file))]
}

/** Files that import those of a batch each, one after the other, in `directory`. @param name that theirs begin with */
async function writeBatches (files: readonly string[], directory: string, name: string): Promise<string[]> {
  const count = Math.min(files.length, BATCHES_PER_CORE * availableParallelism())
  return await Promise.all(Array.from({ length: count }, async (_, batch) => {
    const imports = inOrder(files).filter((_, position) => position % count === batch).map(file => `await import(${JSON.stringify(pathToFileURL(resolve(file)).href)})\n`)
    const path = join(directory, `${name}-${batch}.test.mjs`)
    await writeFile(path, imports.join(''))
    return path
  }))
}

for (const file of [...ALONE, ...LONG, ...UNSHARED]) if (!existsSync(file)) throw new Error(`${file}, which scripts/test.ts names, is not there`)
process.env['RELAY_PROGRAM'] ??= resolve('dist/start.cjs')

if (process.env['SUPER_NODE_PROGRAM'] === undefined) {
  // With the packages inside that are many files; the erasure code reads its own beside itself.
  await build({ entryPoints: ['demo/super-node/main.ts'], outfile: SUPER_NODE, bundle: true, external: ['@digitaldefiance/*'], platform: 'node', format: 'esm', logLevel: 'warning' })
  process.env['SUPER_NODE_PROGRAM'] = SUPER_NODE
}

const files = process.argv.slice(2)
const totals = new Map<string, number>()
const directory = await mkdtemp(join(tmpdir(), 'icn-relay-tests-'))
try {
  const shares = (file: string, folders: readonly string[]): boolean => folders.some(folder => file.startsWith(folder)) && !UNSHARED.includes(file)
  const batches = await Promise.all(SHARING.map(async (folders, group) => await writeBatches(files.filter(file => shares(file, folders)), directory, `batch-${group}`)))
  const single = files.filter(file => !shares(file, SHARING.flat()))
  const runs = [
    { files: batches.flat(), concurrency: availableParallelism(), timeout: BATCH_TIMEOUT_MS },
    { files: inOrder(single.filter(file => !ALONE.includes(file))), concurrency: PROGRAMS, timeout: TIMEOUT_MS },
    { files: single.filter(file => ALONE.includes(file)), concurrency: 1, timeout: TIMEOUT_MS }
  ].filter(({ files: some }) => some.length > 0).map(({ files: some, concurrency, timeout }) => () => run({ files: some.map(file => resolve(file)), concurrency, timeout }))
  await pipeline(Readable.from(inTurn(runs, totals)), new SpecReporter(), process.stdout)
} finally {
  await rm(directory, { recursive: true, force: true })
}
if ((totals.get('tests') ?? 0) === 0) process.stderr.write('no test ran\n')
if ((totals.get('tests') ?? 0) === 0 || (totals.get('fail') ?? 0) + (totals.get('cancelled') ?? 0) > 0) process.exitCode = 1
