import { existsSync } from 'node:fs'
import { dirname, join, sep } from 'node:path'

/** Directories outside the program that a gateway uses. */
export interface GatewayPaths {
  /** Of cached objects, which it reads. */
  readonly shards: string
  /** Where it keeps an engine file that was made for this system. */
  readonly engine: string
}

/** The first version whose flag is not experimental, and the first that asks for the network too; Node, Permissions. */
const STABLE = [22, 13]
const WITH_NETWORK = [25, 0]

function isAtLeast (version: string, [major = 0, minor = 0]: readonly number[]): boolean {
  const [ours = 0, ourMinor = 0] = version.split('.').map(Number)
  return ours > major || (ours === major && ourMinor >= minor)
}

const directory = (path: string): string => path.endsWith(sep) ? path : path + sep

/** Those that are in no other one: Node 20 aborts when a path that is allowed is the beginning of another. */
function outermost (paths: readonly string[]): string[] {
  const unique = [...new Set(paths)]
  return unique.filter(path => !unique.some(other => other !== path && path.startsWith(other)))
}

/** Every `node_modules` that a module at `file` may load from. */
function modulesOf (file: string): string[] {
  const found: string[] = []
  for (let at = dirname(file); ; at = dirname(at)) {
    if (existsSync(join(at, 'node_modules'))) found.push(directory(join(at, 'node_modules')))
    if (dirname(at) === at) return found
  }
}

/** Options of Node that load code from anywhere, or write profiles anywhere. */
const INSTRUMENTS = /^(?:--import|--require|-r|--(?:experimental-)?loader|--(?:cpu|heap)-prof)(?:$|=)/

/** Whether somebody looks into the gateway, with what {@link permissionArguments} would keep from starting. @param options of Node */
export function isInstrumented (options: readonly string[]): boolean {
  return options.some(option => INSTRUMENTS.test(option))
}

/**
 * Arguments with which Node lets a gateway read its program and cached objects, write its engine file, and start no process: not the keys, tokens and
 * index of the relay. They bind what JavaScript does; for native code there is `process.gateway_user`.
 * Empty where they would keep it from starting: for sources, which a compiler loads, and for paths that Node takes for lists or patterns.
 * @param entry of the gateway, built; its root is two directories above
 * @param version of Node
 */
export function permissionArguments (entry: string, { shards, engine }: GatewayPaths, version = process.versions.node): string[] {
  const root = dirname(dirname(entry))
  const write = [directory(engine)]
  const read = outermost([directory(root), join(dirname(root), 'package.json'), ...modulesOf(entry), directory(shards), ...write, '/proc/self/'])
  if (!entry.endsWith('.js') || read.some(path => /[,*]/.test(path))) return []
  return [
    isAtLeast(version, STABLE) ? '--permission' : '--experimental-permission',
    // The engine is one.
    '--allow-addons',
    ...isAtLeast(version, WITH_NETWORK) ? ['--allow-net'] : [],
    ...read.map(path => `--allow-fs-read=${path}`),
    ...write.map(path => `--allow-fs-write=${path}`),
    '--disable-warning=ExperimentalWarning',
    '--disable-warning=SecurityWarning'
  ]
}
