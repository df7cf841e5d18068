import { spawn } from 'node:child_process'
import { mkdir, mkdtemp, open, readdir, readFile, rm } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { basename, dirname, join, resolve } from 'node:path'
import { build } from 'esbuild'

/** Below node_modules, so that a bundle finds what stays outside of it. */
const CACHE = resolve('node_modules/.cache/icn-relay')
/** Native code, and code that would be instrumented to no purpose. */
const EXTERNAL = ['ajv', 'lmdb']
/** Longest input, bytes: twice what any head may have. */
const MAX_INPUT_BYTES = 16_384
/** Inputs take microseconds; one that takes this long, ms, is a finding. */
const INPUT_TIMEOUT_MS = 5_000
/** A target holds about 250 MB; one that grows to this many MB is a finding. */
const RSS_LIMIT_MB = 1_024
/** The smallest target has 19. */
const MIN_EDGES = 10
/** What starting, instrumenting and the last input may take beyond the time of fuzzing, ms. */
const GRACE_MS = 60_000

export interface FuzzOptions {
  /** Module with `fuzz(data)`. */
  readonly file: string
  /** Seeds; only read. */
  readonly corpus: string
  readonly seconds: number
  /** What starts Node: see `newerGlibc`. */
  readonly node: readonly string[]
  /** Where inputs of new coverage are left; nowhere unless given. */
  readonly found?: string
}

export interface FuzzResult {
  readonly runs: number
  /** Edges of the instrumented code that were reached. */
  readonly edges: number
  /** Undefined when nothing was found. */
  readonly finding: { readonly output: string, readonly input: Buffer | undefined } | undefined
}

/** Jazzer instruments what `require` loads, so the target and all it imports become one CommonJS file. */
async function bundle (file: string, directory: string): Promise<string> {
  const outfile = join(directory, `${basename(file, '.ts')}.cjs`)
  await build({ entryPoints: [file], outfile, bundle: true, platform: 'node', format: 'cjs', target: 'node20', external: EXTERNAL, define: { 'import.meta.url': '__url' }, banner: { js: 'const __url = require("node:url").pathToFileURL(__filename).href' }, logLevel: 'warning' })
  return outfile
}

/** Fuzzes one target with libFuzzer for so many seconds. */
export async function fuzzTarget ({ file, corpus, seconds, node, found }: FuzzOptions): Promise<FuzzResult> {
  const cli = join(dirname(createRequire(import.meta.url).resolve('@jazzer.js/core')), 'cli.js')
  await mkdir(CACHE, { recursive: true })
  const directory = await mkdtemp(join(CACHE, 'fuzz-'))
  try {
    const target = await bundle(file, directory)
    const inputs = found === undefined ? join(directory, 'inputs') : resolve(found)
    const artifacts = join(directory, 'artifacts')
    for (const path of [inputs, artifacts]) await mkdir(path, { recursive: true })
    const [command = process.execPath, ...first] = node
    // Not a pipe: Node makes those non-blocking, and libFuzzer drops what a full one does not take.
    await using log = await open(join(directory, 'log'), 'w+')
    const child = spawn(command, [...first, cli, target, '--includes', basename(target), '--sync', '--timeout', String(INPUT_TIMEOUT_MS), inputs, resolve(corpus), '--',
      `-max_total_time=${seconds}`, `-max_len=${MAX_INPUT_BYTES}`, `-rss_limit_mb=${RSS_LIMIT_MB}`, `-artifact_prefix=${artifacts}/`, '-print_final_stats=1', '-use_value_profile=1'
    ], { cwd: directory, stdio: ['ignore', 'ignore', log.fd], timeout: seconds * 1_000 + GRACE_MS, killSignal: 'SIGKILL' })
    const code = await new Promise<number | null>((resolve, reject) => { child.once('error', reject).once('close', resolve) })
    const output = await readFile(join(directory, 'log'), 'utf8')
    const [input] = (await readdir(artifacts)).filter(name => !name.startsWith('slow-unit'))
    const runs = Number(/^stat::number_of_executed_units: (\d+)$/m.exec(output)?.[1] ?? 0)
    const edges = Math.max(0, ...Array.from(output.matchAll(/\bcov: (\d+)/g), ([, number]) => Number(number)))
    // One that ran nothing, or saw no branches, has proved nothing.
    if (code === 0 && input === undefined && runs > 0 && edges >= MIN_EDGES) return { runs, edges, finding: undefined }
    return { runs, edges, finding: { output: `${output}exit code ${code}`, input: input === undefined ? undefined : await readFile(join(artifacts, input)) } }
  } finally {
    await rm(directory, { recursive: true, force: true })
  }
}
