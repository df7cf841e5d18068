/** Compares the relay with its peers, side by side on this machine: `npm run compare -- --help`. Linux. */
import { execFile } from 'node:child_process'
import { access, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { withCleanup } from '../tools/harness/cleanup.ts'
import { chart } from './chart.ts'
import { replaceMeasured } from './document.ts'
import { judgeGoals } from './goals.ts'
import { Lab } from './lab.ts'
import { describeMachine } from './machine.ts'
import { USAGE, parseOptions, type Options } from './options.ts'
import { findProgram, ROOT } from './peers/peer.ts'
import { reportText } from './report.ts'
import type { Report } from './result.ts'
import { FULL, QUICK } from './scale.ts'
import { runScenario } from './scenario.ts'
import { allScenarios } from './scenarios/all.ts'
import { namesOf, select } from './selection.ts'

/** What the peers' packages bring. */
const PROGRAMS = ['nginx', 'varnishd', 'caddy', 'h2load']

const log = (line: string): void => { process.stderr.write(`${line}\n`) }

/** Installs missing packages when that is possible; what is still missing becomes rows with the reason. */
async function installPeers (): Promise<void> {
  const missing: string[] = []
  for (const program of PROGRAMS) if (await findProgram(program) === undefined) missing.push(program)
  if (missing.length === 0) return
  const script = join(ROOT, 'compare/install.sh')
  if (process.getuid?.() !== 0) return log(`not installed: ${missing.join(', ')}; run ${script} as root to compare with them`)
  log(`installing the packages of ${missing.join(', ')}`)
  await promisify(execFile)(script).catch((error: unknown) => {
    log(error instanceof Error ? error.message : String(error))
  })
}

async function measure (options: Options, signal: AbortSignal): Promise<Report> {
  const relayProgram = join(ROOT, 'dist/start.cjs')
  await access(relayProgram).catch(() => { throw new Error(`${relayProgram} is missing; run "npm run build"`) })
  const started = new Date()
  const scenarios: Report['scenarios'][number][] = []
  const machine = await describeMachine()
  await withCleanup(async cleanup => {
    const lab = await Lab.open({ scale: options.quick ? QUICK : FULL, relayProgram }, cleanup)
    for (const scenario of select(allScenarios(lab), options.only)) {
      log(`${scenario.id}: ${scenario.title}`)
      scenarios.push(await runScenario(scenario, { runs: options.runs, warmUps: options.quick ? 0 : 1, log, signal }))
    }
  })
  return {
    command: ['npm run compare', ...process.argv.length > 2 ? ['--', ...process.argv.slice(2)] : []].join(' '),
    startedAt: started.toISOString(),
    minutes: (Date.now() - started.getTime()) / 60_000,
    runs: options.runs,
    machine,
    scenarios,
    goals: judgeGoals(scenarios)
  }
}

async function main (): Promise<void> {
  const options = parseOptions(process.argv.slice(2), namesOf())
  if (options.help) {
    process.stdout.write(USAGE)
    return
  }
  if (process.platform !== 'linux') throw new Error('this needs Linux: CPU and memory are read from /proc')
  const stop = new AbortController()
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => { stop.abort(new Error(`ended by ${signal}`)) })
  if (options.install) await installPeers()
  const report = await measure(options, stop.signal)
  process.stdout.write(`${reportText(report)}\n`)
  if (options.json !== undefined) await writeFile(options.json, `${JSON.stringify(report, undefined, 2)}\n`)
  if (!options.write) return
  const document = join(ROOT, 'docs/performance.md')
  await writeFile(document, replaceMeasured(await readFile(document, 'utf8'), reportText(report)))
  await writeFile(join(ROOT, 'docs/performance.svg'), chart(report.scenarios, 'icn-relay and its peers on one core, one machine, one run'))
  log(`wrote ${document} and docs/performance.svg`)
}

main().catch((error: unknown) => {
  log(`compare: ${error instanceof Error ? error.message : String(error)}`)
  process.exitCode = 1
})
