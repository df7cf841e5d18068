import { execFile } from 'node:child_process'
import { symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import type { Faults } from '../../demo/super-node/faults.ts'
import type { SuperNodeStats } from '../../demo/super-node/server.ts'
import type { HeldSocket } from './held-sockets.ts'
import { GENEROUS_LIMITS } from './limits.ts'
import { loaderOf, ManagedProcess, nodeCommand, ROOT } from './managed-process.ts'
import { temporaryDirectory } from './temporary-directory.ts'

/** The relay's program that `npm test` has built; undefined when a test file is run by itself, for which the sources count. */
const BUILT = process.env['RELAY_PROGRAM']

/** What runs a super-node in a process of its own. */
export const SUPER_NODE = process.env['SUPER_NODE_PROGRAM'] ?? 'demo/super-node/main.ts'

/** What runs a relay in a process of its own. */
export const SERVER = BUILT ?? 'src/start.cts'

/** A built program: that of `npm test`, or built as `npm run build` does, into a directory that goes with the test. */
export async function buildRelay (t: Pick<TestContext, 'after'>): Promise<string> {
  if (BUILT !== undefined) return BUILT
  const directory = await temporaryDirectory(t)
  // Loaded by those who build only.
  const { buildProgram } = await import('../../scripts/program.ts')
  await buildProgram(join(directory, 'dist'))
  for (const name of ['node_modules', 'package.json', 'demo']) await symlink(join(ROOT, name), join(directory, name))
  return join(directory, 'dist/start.cjs')
}

export interface SpawnOptions {
  /** How many it may have open, and those it starts each; as many as the test itself by default. */
  readonly descriptors?: number | undefined
  /** Given to it as a service manager does; sd_listen_fds(3). */
  readonly sockets?: readonly HeldSocket[] | undefined
}

/** Starts a program of this repository, from its sources or built; it is killed with the test. */
export function spawnProgram (t: Pick<TestContext, 'after'>, script: string, args: readonly string[], env: Record<string, string> = {}, { descriptors, sockets = [] }: SpawnOptions = {}): ManagedProcess {
  // Loading sources begins with the thread pool before the program can say how large it is to be.
  const pool = loaderOf(script).length > 0 ? { UV_THREADPOOL_SIZE: '16' } : {}
  // The shell becomes the program, so that its id is the program's.
  const through = descriptors === undefined && sockets.length === 0
    ? []
    : ['sh', '-c', '[ "$0" = any ] || ulimit -n "$0"; export LISTEN_PID=$$; exec "$@"', String(descriptors ?? 'any')]
  const listen = sockets.length === 0 ? {} : { LISTEN_FDS: String(sockets.length), LISTEN_FDNAMES: sockets.map(({ name }) => name).join(':') }
  const started = ManagedProcess.start([...through, ...nodeCommand(script, ...args)], { name: script, env: { ...pool, ...listen, ...env }, descriptors: sockets.map(({ fd }) => fd) })
  t.after(async () => { await started.kill() })
  return started
}

export interface Ended {
  /** -1 when a signal ended it. */
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

/** Runs a program of this repository, from its sources or built, to its end. @param input its standard input */
export async function runToEnd (script: string, args: readonly string[], input = ''): Promise<Ended> {
  const [program = '', ...command] = nodeCommand(script, ...args)
  return await new Promise(resolve => {
    const child = execFile(program, command, { cwd: ROOT }, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : typeof error.code === 'number' ? error.code : -1, stdout, stderr })
    })
    // The program may end before it has read anything.
    child.stdin?.on('error', () => {})
    child.stdin?.end(input)
  })
}

export interface SpawnedRelay extends ManagedProcess {
  readonly viewerUrl: string
  readonly adminUrl: string
  readonly cachePath: string
  readonly configFile: string
}

/** Text of a TOML file; values are written as JSON, which TOML reads for strings, numbers, booleans and lists of strings. */
function toml (settings: Record<string, Record<string, unknown>>): string {
  return Object.entries(settings).map(([section, keys]) => {
    const lines = Object.entries(keys).filter(([, value]) => value !== undefined).map(([key, value]) => `${key} = ${tomlValue(value)}`)
    return `[${section}]\n${lines.join('\n')}\n`
  }).join('\n')
}

function tomlValue (value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(tomlValue).join(', ')}]`
  if (typeof value === 'object' && value !== null) return `{ ${Object.entries(value).map(([key, item]) => `${key} = ${tomlValue(item)}`).join(', ')} }`
  return JSON.stringify(value)
}

/** A relay in a process of its own on free ports, ready when this resolves. A setting that is undefined is left out, for programs that do not know its key. */
export async function spawnRelay (t: Pick<TestContext, 'after'>, superNodes: readonly { url: string, region: string }[], settings: Record<string, Record<string, unknown>> = {}, cachePath?: string, { program = SERVER, env = {}, ...spawnOptions }: { program?: string, env?: Record<string, string> } & SpawnOptions = {}): Promise<SpawnedRelay> {
  const removals: (() => Promise<void>)[] = []
  const directory = await temporaryDirectory({ after: hook => { removals.push(hook as () => Promise<void>) } })
  const path = cachePath ?? join(directory, 'cache')
  const file = join(directory, 'relay.toml')
  await writeFile(file, toml({
    ...settings,
    viewer: { host: '127.0.0.1', port: 0, websocket_port: 0, ...settings['viewer'] },
    admin: { port: 0, requests_per_minute: 100_000, loopback_without_token: true, ...settings['admin'] },
    // Tests that are about manifests say so; earlier versions do not know the key.
    cache: { path, ...program === SERVER ? { integrity: 'digest' } : {}, ...settings['cache'] },
    // What it brings in by itself would be counted with what tests ask for.
    ...program === SERVER ? { prefetch: { enabled: false, ...settings['prefetch'] } } : {},
    limits: { ...GENEROUS_LIMITS, ...settings['limits'] },
    upstream: { super_nodes: superNodes.map(({ url, region }) => ({ url, region })), ...settings['upstream'] }
  }))
  const relay = spawnProgram(t, program, ['--config', file], env, spawnOptions)
  // Hooks run in the order they were registered: the directory goes after the relay that writes to it.
  for (const removal of removals) t.after(removal)
  const { viewerPort, adminPort } = await relay.waitFor(event => event['msg'] === 'relay ready')
  return Object.assign(relay, { viewerUrl: `http://127.0.0.1:${String(viewerPort)}`, adminUrl: `http://127.0.0.1:${String(adminPort)}`, cachePath: path, configFile: file })
}

export interface SpawnedNode extends ManagedProcess {
  readonly url: string
  readonly region: string
  setFaults (faults: Faults): Promise<void>
  stats (): Promise<SuperNodeStats>
}

/** A super-node in a process of its own, on a free port unless told otherwise. */
export async function spawnSuperNode (t: Pick<TestContext, 'after'>, region: string, faults: Faults = {}, { port = 0, host = '127.0.0.1' }: { port?: number, host?: string } = {}): Promise<SpawnedNode> {
  const node = spawnProgram(t, SUPER_NODE, ['--port', String(port), '--host', host, '--region', region, '--faults', JSON.stringify(faults)])
  const { url } = await node.waitFor(event => typeof event['url'] === 'string')
  return Object.assign(node, {
    url: String(url),
    region,
    setFaults: async (changed: Faults) => {
      const response = await fetch(`${String(url)}/_demo/faults`, { method: 'POST', body: JSON.stringify(changed) })
      if (!response.ok) throw new Error(await response.text())
    },
    stats: async () => await (await fetch(`${String(url)}/_demo/stats`)).json() as SuperNodeStats
  })
}
