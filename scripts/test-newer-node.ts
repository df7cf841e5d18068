/**
 * Runs the test files it is given, but those of our tools, on Node 24 (`npm run test:newer-node`), which the npm registry has for each platform; it is fetched for the run and goes
 * with it. Prints one line, and the whole report when a test failed. Where Node cannot be fetched, that is a failure in CI and a note elsewhere.
 */
import { execFile, spawn } from 'node:child_process'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { promisify } from 'node:util'

const MAJOR = '24'
const PACKAGE = `node-${process.platform === 'win32' ? 'win' : process.platform}-${process.arch}`
/** What nobody runs who runs a relay. */
const OURS = ['autocannon', 'compare', 'demo', 'tools'].map(name => `test/unit/${name}/`)
const FETCH_TIMEOUT_MS = 120_000
/** For a runner that hangs: a file that does is ended by it. The unit tests take about a minute on two idle cores. */
const RUN_TIMEOUT_MS = 900_000

/** The program of the newest Node of that major version, in `directory`. @throws what npm says */
async function fetchNode (directory: string): Promise<string> {
  const options = ['--no-save', '--no-audit', '--no-fund', '--ignore-scripts', '--prefix', directory]
  await promisify(execFile)('npm', ['install', ...options, `${PACKAGE}@${MAJOR}`], { cwd: directory, timeout: FETCH_TIMEOUT_MS })
  return join(directory, 'node_modules', PACKAGE, 'bin', process.platform === 'win32' ? 'node.exe' : 'node')
}

/** Ends the runner with all that it started. */
function endGroup (pid: number | undefined): void {
  if (pid === undefined) return
  try {
    process.kill(-pid, 'SIGKILL')
  } catch {
    // All of it has ended.
  }
}

/** @returns what the runner printed, and its exit code, null when it had to be ended */
async function runOn (program: string, files: readonly string[]): Promise<{ report: string, code: number | null }> {
  const runner = spawn(program, ['--import', 'tsx', 'scripts/test.ts', ...files], { stdio: ['ignore', 'pipe', 'inherit'], detached: true })
  const deadline = setTimeout(() => { endGroup(runner.pid) }, RUN_TIMEOUT_MS)
  const interrupted = (): void => {
    endGroup(runner.pid)
    process.exitCode = 1
  }
  process.on('SIGINT', interrupted).on('SIGTERM', interrupted)
  try {
    const ended = new Promise<number | null>((resolve, reject) => { runner.on('error', reject).on('exit', resolve) })
    const [report, code] = await Promise.all([text(runner.stdout), ended])
    return { report, code }
  } finally {
    clearTimeout(deadline)
    process.off('SIGINT', interrupted).off('SIGTERM', interrupted)
  }
}

const directory = await mkdtemp(join(tmpdir(), 'icn-relay-node-'))
try {
  const fetched = await fetchNode(directory).catch((error: unknown) => error instanceof Error ? error : new Error(String(error)))
  if (fetched instanceof Error) {
    process.stdout.write(`Node ${MAJOR} could not be fetched, so nothing ran on it: ${fetched.message}\n`)
    if (process.env['CI'] !== undefined) process.exitCode = 1
  } else {
    const { version } = JSON.parse(await readFile(join(directory, 'node_modules', PACKAGE, 'package.json'), 'utf8')) as { version: string }
    const started = performance.now()
    const files = process.argv.slice(2).filter(file => !OURS.some(folder => file.startsWith(folder)))
    const { report, code } = await runOn(fetched, files)
    const passed = /^ℹ pass (\d+)$/m.exec(report)?.[1] ?? '0'
    if (code !== 0) process.stdout.write(report)
    process.stdout.write(`Node ${version}: ${code === 0 ? `${passed} tests passed` : code === null ? 'the tests were ended' : 'a test failed'}, ${((performance.now() - started) / 1_000).toFixed(0)} s\n`)
    if (code !== 0) process.exitCode = 1
  }
} finally {
  await rm(directory, { recursive: true, force: true })
}
