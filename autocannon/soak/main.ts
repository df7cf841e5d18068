/** `npm run soak`: ten minutes of mixed load while super-nodes fail, caches are purged and the gateway is killed. Exits 1 when something did not hold. */
import { writeFile } from 'node:fs/promises'
import { withCleanup } from '../../tools/harness/cleanup.ts'
import { UsageError, optionHelp, readArguments, runProgram, type OptionDefinitions } from '../arguments.ts'
import { runSoak, type SoakReport } from './run-soak.ts'

const OPTIONS = {
  minutes: { kind: 'number', min: 0.2, max: 100_000, default: 10, help: 'of traffic; memory is judged from about five on' },
  viewers: { kind: 'number', min: 1, max: 1_000, whole: true, default: 8, help: 'of each transport: HTTP, WebTransport, WebSocket' },
  seed: { kind: 'number', min: 0, max: 4_000_000_000, whole: true, default: 1, help: 'of requests and disturbances' },
  program: { kind: 'text', help: 'compiled server.js to test; one is built otherwise' },
  json: { kind: 'text', help: 'file for the report' }
} as const satisfies OptionDefinitions

const say = (text: string): void => { process.stdout.write(`${text}\n`) }

function tell ({ disturbances, storm, calm, memory, violations }: SoakReport): void {
  say(`disturbances: ${Object.entries(disturbances).map(([kind, count]) => `${count} × ${kind}`).join(', ')}`)
  for (const [name, { counted, transports }] of Object.entries({ storm, calm })) {
    say(`${name}: ${counted.hits} hits + ${counted.misses} misses + ${counted.failures} errors; over HTTP ${counted.httpRequests}, over sessions ${counted.streams}`)
    for (const [transport, { texts }] of Object.entries(transports)) for (const [text, count] of Object.entries(texts)) say(`  ${transport}: ${count} × ${text}`)
  }
  for (const [name, trend] of Object.entries(memory)) {
    const judged = trend.telling ? '' : ', too short to judge'
    say(`memory of the ${name}: ${(trend.medianBytes / 1e6).toFixed(0)} MB, ${(trend.bytesPerSecond * 3_600 / 1e6).toFixed(1)} MB an hour over ${trend.seconds.toFixed(0)} s${judged}`)
  }
  for (const violation of violations) say(`VIOLATION ${violation}`)
  say(violations.length === 0 ? 'soak: everything held' : `soak: ${violations.length} violations`)
}

async function main (args: readonly string[]): Promise<number> {
  const { words, options } = readArguments(args, OPTIONS)
  if (words[0] === 'help') {
    say(`Usage: npm run soak -- [options]\n\n${optionHelp(OPTIONS)}`)
    return 0
  }
  if (words.length > 0) throw new UsageError(`unknown word ${JSON.stringify(words[0])}`)
  const { minutes, viewers, seed, program } = options
  const report = await withCleanup(async cleanup => await runSoak(cleanup, { seconds: minutes * 60, viewers, seed, ...(program === undefined ? {} : { program }) }, say))
  tell(report)
  if (options.json !== undefined) await writeFile(options.json, `${JSON.stringify(report, null, 2)}\n`)
  return report.violations.length === 0 ? 0 : 1
}

await runProgram('soak', main)
