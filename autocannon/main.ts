/** `npm run load -- <scenario>…`: load on real processes, as a table and as JSON. */
import { writeFile } from 'node:fs/promises'
import { withCleanup } from '../benchmarks/cleanup.ts'
import { UsageError, optionHelp, readArguments, settingsOf, type OptionDefinitions } from './arguments.ts'
import { isClean, type LoadResult } from './result.ts'
import { runScenario } from './run-scenario.ts'
import { SCENARIOS } from './scenarios/index.ts'
import { resultTable } from './table.ts'

const OPTIONS = {
  duration: { kind: 'number', min: 0.2, max: 86_400, default: 10, help: 'seconds of the measured part' },
  connections: { kind: 'number', min: 1, max: 10_000, whole: true, help: 'instead of those of the scenario' },
  json: { kind: 'text', help: 'file for the results, a JSON list' },
  seed: { kind: 'number', min: 0, max: 4_000_000_000, whole: true, default: 1, help: 'of everything that is drawn by chance' },
  'super-nodes': { kind: 'number', min: 1, max: 16, whole: true, default: 1, help: 'processes to start' },
  latency: { kind: 'number', min: 0, max: 600_000, default: 0, help: 'milliseconds a super-node waits before it answers' },
  set: { kind: 'list', help: 'section.key=value of the relay\'s configuration; may be repeated' },
  program: { kind: 'text', help: 'compiled server.js to test; one is built otherwise' }
} as const satisfies OptionDefinitions

const HELP = `Usage: npm run load -- <scenario>… [options]
       npm run load -- all | list | help

${optionHelp(OPTIONS)}

Scenarios
${SCENARIOS.map(({ name, title }) => `  ${name.padEnd(14)}${title}`).join('\n')}
`

async function http (args: readonly string[]): Promise<LoadResult[]> {
  const { words, options } = readArguments(args, OPTIONS)
  const names = words.includes('all') ? SCENARIOS.map(({ name }) => name) : words
  const chosen = names.map(name => {
    const scenario = SCENARIOS.find(candidate => candidate.name === name)
    if (scenario === undefined) throw new UsageError(`unknown scenario ${JSON.stringify(name)}; known are ${SCENARIOS.map(known => known.name).join(' ')} viewers`)
    return scenario
  })
  const results: LoadResult[] = []
  for (const scenario of chosen) {
    results.push(await withCleanup(async cleanup => await runScenario(cleanup, scenario, {
      seconds: options.duration,
      connections: options.connections,
      seed: options.seed,
      superNodes: options['super-nodes'],
      faults: { latencyMs: options.latency },
      settings: settingsOf(options.set),
      ...(options.program === undefined ? {} : { program: options.program })
    })))
  }
  if (options.json !== undefined) await writeFile(options.json, `${JSON.stringify(results, null, 2)}\n`)
  return results
}

async function main (args: readonly string[]): Promise<number> {
  const [command] = args
  if (command === undefined || command === 'help' || command === '--help') {
    process.stdout.write(HELP)
    return command === undefined ? 2 : 0
  }
  if (command === 'list') {
    process.stdout.write(`${SCENARIOS.map(({ name, title }) => `${name.padEnd(14)}${title}`).join('\n')}\n`)
    return 0
  }
  const results = await http(args)
  process.stdout.write(`${resultTable(results)}\n`)
  for (const { scenario, errorTexts } of results) for (const text of errorTexts) process.stderr.write(`${scenario}: ${text}\n`)
  return results.every(isClean) ? 0 : 1
}

try {
  process.exitCode = await main(process.argv.slice(2))
} catch (error) {
  if (!(error instanceof UsageError)) throw error
  process.stderr.write(`load: ${error.message}\n`)
  process.exitCode = 2
}
