/** The command lines of `npm run load`, and what they start. */
import { cpus } from 'node:os'
import { withCleanup } from '../tools/harness/cleanup.ts'
import { buildRelay } from '../tools/harness/processes.ts'
import { UsageError, optionHelp, readArguments, settingsOf, type OptionDefinitions, type OptionValues } from './arguments.ts'
import type { LoadResult } from './result.ts'
import type { RigOptions } from './rig.ts'
import { runScenario } from './run-scenario.ts'
import { SCENARIOS } from './scenarios/index.ts'
import { runViewers } from './viewers/run-viewers.ts'

const COMMON = {
  duration: { kind: 'number', min: 0.2, max: 86_400, default: 10, help: 'seconds of the measured part' },
  json: { kind: 'text', help: 'file for the results, a JSON list' },
  seed: { kind: 'number', min: 0, max: 4_000_000_000, whole: true, default: 1, help: 'of everything that is drawn by chance' },
  'super-nodes': { kind: 'number', min: 1, max: 16, whole: true, default: 1, help: 'super-node processes to start' },
  latency: { kind: 'number', min: 0, max: 600_000, default: 0, help: 'milliseconds a super-node waits before it answers' },
  set: { kind: 'list', help: 'section.key=value of the relay\'s configuration; may be repeated' },
  program: { kind: 'text', help: 'compiled server.js to test; one is built otherwise' },
  profile: { kind: 'text', help: 'directory for CPU profiles of relay and gateway; where their time went is printed' }
} as const satisfies OptionDefinitions

const HTTP = {
  ...COMMON,
  connections: { kind: 'number', min: 1, max: 10_000, whole: true, help: 'instead of those of the scenario' },
  requests: { kind: 'number', min: 1, max: 100_000_000, whole: true, help: 'answers that end the run, instead of --duration' }
} as const satisfies OptionDefinitions

const VIEWERS = {
  ...COMMON,
  mode: { kind: 'choice', choices: ['fetch', 'playback'], default: 'fetch', help: 'fetch by a schedule, or play a video in real time' },
  transport: { kind: 'choice', choices: ['webtransport', 'websocket', 'http'], default: 'webtransport', help: 'how viewers are connected' },
  sessions: { kind: 'number', min: 1, max: 50_000, whole: true, default: 100, help: 'viewers, one session each' },
  ramp: { kind: 'number', min: 0, max: 3_600, help: 'seconds in which they come; 50 a second by default' },
  processes: { kind: 'number', min: 1, max: 256, whole: true, default: Math.max(2, cpus().length), help: 'of the load generator' },
  streams: { kind: 'number', min: 1, max: 200, whole: true, default: 1, help: 'of a session at the same time' },
  'shard-bytes': { kind: 'number', min: 1, max: 33_554_432, whole: true, default: 1_000_000, help: 'size of every object' },
  objects: { kind: 'number', min: 1, max: 100_000, whole: true, default: 100, help: 'in the cache before, asked for by popularity' },
  zipf: { kind: 'number', min: 0, max: 10, default: 0.9, help: 'exponent of their popularity' },
  'hit-ratio': { kind: 'number', min: 0, max: 1, default: 1, help: 'share of requests for those; the others are misses' },
  think: { kind: 'number', min: 0, max: 3_600_000, default: 1_000, help: 'mean milliseconds between two requests of a stream; 0 is a closed loop' },
  rate: { kind: 'number', min: 0.01, max: 1_000_000, help: 'requests per second of all viewers, instead of --think' },
  arrivals: { kind: 'choice', choices: ['poisson', 'even'], default: 'poisson', help: 'how they are spread' },
  bitrate: { kind: 'number', min: 1_000, max: 1_000_000_000, default: 5_000_000, help: 'playback: bits of video per second' },
  buffer: { kind: 'number', min: 0, max: 3_600, default: 6, help: 'playback: seconds of video in store' }
} as const satisfies OptionDefinitions

/** Sessions that come each second unless `--ramp` says otherwise: half of what one core of the generator can open. */
const SESSIONS_PER_SECOND = 50

const KNOWN = `${SCENARIOS.map(({ name }) => name).join(' ')} viewers all`

export const HELP = `Usage: npm run load -- <scenario>… [options]
       npm run load -- all [options]         every HTTP scenario
       npm run load -- viewers [options]     sessions over WebTransport, WebSocket or HTTP
       npm run load -- list | help

HTTP scenarios
${SCENARIOS.map(({ name, title }) => `  ${name.padEnd(14)}${title}`).join('\n')}

Options of HTTP scenarios
${optionHelp(HTTP)}

Options of viewers
${optionHelp(VIEWERS)}
`

export const LIST = [...SCENARIOS, { name: 'viewers', title: 'sessions with the client library, in real time or by a schedule' }]
  .map(({ name, title }) => `${name.padEnd(14)}${title}\n`).join('')

function rigOf (options: OptionValues<typeof COMMON>, program: string): RigOptions & { program: string, seconds: number, seed: number } {
  return {
    seconds: options.duration,
    seed: options.seed,
    superNodes: options['super-nodes'],
    faults: { latencyMs: options.latency },
    settings: settingsOf(options.set),
    program,
    profile: options.profile
  }
}

/** Carries out a command line. @throws UsageError */
export async function load (args: readonly string[]): Promise<{ results: LoadResult[], json: string | undefined }> {
  return args.includes('viewers') ? await viewers(args) : await http(args)
}

async function http (args: readonly string[]): Promise<{ results: LoadResult[], json: string | undefined }> {
  const { words, options } = readArguments(args, HTTP)
  if (words.length === 0) throw new UsageError(`no scenario; known are ${KNOWN}`)
  const chosen = words.map(name => {
    const scenario = SCENARIOS.find(candidate => candidate.name === name)
    if (scenario === undefined && name !== 'all') throw new UsageError(`unknown scenario ${JSON.stringify(name)}; known are ${KNOWN}`)
    return scenario
  })
  const scenarios = words.includes('all') ? SCENARIOS : chosen.filter(scenario => scenario !== undefined)
  return await withCleanup(async outer => {
    const rig = rigOf(options, options.program ?? await buildRelay(outer))
    const results: LoadResult[] = []
    for (const scenario of scenarios) results.push(await withCleanup(async cleanup => await runScenario(cleanup, scenario, { ...rig, connections: options.connections, requests: options.requests })))
    return { results, json: options.json }
  })
}

async function viewers (args: readonly string[]): Promise<{ results: LoadResult[], json: string | undefined }> {
  const { words, options } = readArguments(args, VIEWERS)
  if (words.length > 1) throw new UsageError(`viewers is a command of its own, not to be mixed with ${words.filter(word => word !== 'viewers').join(' ')}`)
  return await withCleanup(async cleanup => {
    const rig = rigOf(options, options.program ?? await buildRelay(cleanup))
    const { 'shard-bytes': shardBytes, 'hit-ratio': hitRatio, ramp = options.sessions / SESSIONS_PER_SECOND } = options
    return { results: [await runViewers(cleanup, { ...options, ...rig, shardBytes, hitRatio, ramp })], json: options.json }
  })
}
