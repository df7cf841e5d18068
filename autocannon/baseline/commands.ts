/** The command line of the gate of ratios, and what it starts. */
import { readFile, writeFile } from 'node:fs/promises'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { resolve } from 'node:path'
import { withCleanup } from '../../tools/harness/cleanup.ts'
import { UsageError, optionHelp, readArguments, type OptionDefinitions, type OptionValues } from '../arguments.ts'
import { thisMachine } from '../result.ts'
import { startBench, type Bench } from './bench.ts'
import { explain, isTooNoisy, judge, parseBaseline, summarise, valuesOf, type Baseline } from './compare.ts'
import { joined, measureRatios, medians, ratiosNamed, traitOf } from './measure.ts'

const OPTIONS = {
  baseline: { kind: 'text', default: fileURLToPath(new URL('../baseline.json', import.meta.url)), help: 'file of the baseline' },
  rounds: { kind: 'number', min: 1, max: 1_000, whole: true, default: 7, help: 'of which each ratio is the median' },
  repetitions: { kind: 'number', min: 3, max: 100, whole: true, default: 9, help: 'of all rounds, whose spread is the noise of the baseline' },
  seconds: { kind: 'number', min: 1, max: 3_600, default: 60, help: 'after which a slow machine begins no further round' },
  add: { kind: 'flag', help: 'keep the repetitions of the file beside the new ones, which another machine or another day has given' },
  only: { kind: 'list', help: 'ratio, or group of them, to measure; may be repeated' },
  program: { kind: 'text', help: 'compiled server.js to test; one is built otherwise' },
  preload: { kind: 'text', help: 'module that relay and gateway load before: how the gate itself is tried out' }
} as const satisfies OptionDefinitions

const HELP = `Usage: npm run load:gate -- [options]        compare with the baseline
       npm run load:baseline -- [options]    measure the baseline anew

${optionHelp(OPTIONS)}
`

type Options = OptionValues<typeof OPTIONS>

/** Compilers reach their last tier, caches and windows their size. */
const WARM_UP_ROUNDS = 2

const say = (text: string): void => { process.stdout.write(`${text}\n`) }

async function withBench<T> (options: Options, work: (bench: Bench) => Promise<T>): Promise<T> {
  const preload = options.preload === undefined ? {} : { env: { NODE_OPTIONS: `--import ${pathToFileURL(resolve(options.preload)).href}` } }
  const program = options.program === undefined ? {} : { program: options.program }
  return await withCleanup(async cleanup => await work(await startBench(cleanup, { ...program, ...preload })))
}

async function gate (options: Options, ratios: readonly string[]): Promise<number> {
  const whole = parseBaseline(await readFile(options.baseline, 'utf8'))
  const baseline = { ratios: Object.fromEntries(Object.entries(whole.ratios).filter(([name]) => options.only.length === 0 || ratios.includes(name))) }
  const { cpu } = thisMachine()
  if (whole.machine.cpu !== cpu) say(`note: the baseline is of another machine (${whole.machine.cpu}, here ${cpu}); ratios are comparable, less closely`)
  return await withBench(options, async bench => {
    let samples = await measureRatios(bench, ratios, { ...options, warmUp: WARM_UP_ROUNDS })
    let verdicts = judge(baseline, medians(samples))
    const suspects = verdicts.filter(({ ok, worse }) => !ok && worse !== undefined)
    if (suspects.length > 0) {
      // A disturbance passes, a slower build does not: what failed is measured again before it is believed.
      say(`measured again: ${suspects.map(({ name, worse }) => `${name} (×${worse?.toFixed(2) ?? '?'})`).join(', ')}`)
      const again = await measureRatios(bench, suspects.map(({ name }) => name), { ...options, rounds: options.rounds * 2 })
      samples = joined(samples, again)
      verdicts = judge(baseline, medians(samples))
    }
    for (const verdict of verdicts) say(explain(verdict))
    const failed = verdicts.filter(({ ok }) => !ok)
    say(failed.length === 0 ? `gate: ${verdicts.length} ratios within their noise` : `gate: ${failed.map(({ name }) => name).join(', ')} worse than ${options.baseline} allows`)
    return failed.length === 0 ? 0 : 1
  })
}

async function renew (options: Options, names: readonly string[]): Promise<number> {
  const repetitions: Record<string, number>[] = []
  await withBench(options, async bench => {
    for (let repetition = 0; repetition < options.repetitions; repetition++) {
      const measured = medians(await measureRatios(bench, names, { ...options, warmUp: repetition === 0 ? WARM_UP_ROUNDS : 0 }))
      repetitions.push(measured)
      say(`${repetition + 1}/${options.repetitions}  ${Object.entries(measured).map(([name, value]) => `${name} ${value.toFixed(3)}`).join('  ')}`)
    }
  })
  const known = options.add ? parseBaseline(await readFile(options.baseline, 'utf8')) : undefined
  const ratios = Object.fromEntries(Object.keys(repetitions[0] ?? {}).map(name => [name, summarise(traitOf(name), [...valuesOf(known, name), ...repetitions.map(measured => measured[name] ?? NaN)])]))
  const baseline: Baseline = { version: 1, measuredAt: new Date().toISOString(), machine: thisMachine(), rounds: options.rounds, ratios }
  await writeFile(options.baseline, `${JSON.stringify(baseline, null, 2)}\n`)
  for (const [name, ratio] of Object.entries(ratios)) {
    say(`${name.padEnd(18)} ${ratio.median.toFixed(3)} ±${(ratio.spread * 100).toFixed(0)} %${isTooNoisy(ratio) ? '  too noisy for its band: renew it on a calmer machine' : ''}`)
  }
  say(`written to ${options.baseline}`)
  return 0
}

/** Measures and compares, or renews the baseline. @param args as on the command line @returns the exit code @throws UsageError */
export async function baselineCommand (args: readonly string[]): Promise<number> {
  const { words: [command, ...further], options } = readArguments(args, OPTIONS)
  if (command === 'help') {
    say(HELP)
    return 0
  }
  if ((command !== 'gate' && command !== 'renew') || further.length > 0) throw new UsageError(`gate, renew or help, not ${[command, ...further].join(' ')}`)
  let ratios: string[]
  try {
    ratios = ratiosNamed(options.only)
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error))
  }
  return await (command === 'gate' ? gate(options, ratios) : renew(options, ratios))
}
