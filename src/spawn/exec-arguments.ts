import { WANTED_THREADS } from '../base/thread-pool.ts'
import { withoutListenSockets } from './listen-sockets.ts'

/** Options of Node that a child process needs to load the same sources and to be measured like its parent; with their value, if they take one. */
const INHERITED: Readonly<Record<string, 'value' | 'flag'>> = {
  '--import': 'value',
  '--require': 'value',
  '-r': 'value',
  '--loader': 'value',
  '--experimental-loader': 'value',
  '--conditions': 'value',
  '-C': 'value',
  '--enable-source-maps': 'flag',
  '--no-warnings': 'flag',
  '--disable-warning': 'value',
  '--experimental-strip-types': 'flag',
  '--cpu-prof': 'flag',
  '--cpu-prof-dir': 'value',
  '--heap-prof': 'flag',
  '--heap-prof-dir': 'value'
}

/** The part of `process.execArgv` a child takes over: not a debugger's port, not the code of `-e`, not a test runner's options. */
export function inheritedArguments (execArgv: readonly string[]): string[] {
  const inherited: string[] = []
  for (let position = 0; position < execArgv.length; position++) {
    const argument = execArgv[position] ?? ''
    const [name = ''] = argument.split('=', 1)
    const kind = INHERITED[name]
    if (kind === undefined) continue
    inherited.push(argument)
    const value = execArgv[position + 1]
    if (kind === 'value' && name === argument && value !== undefined) {
      inherited.push(value)
      position++
    }
  }
  return inherited
}

/** The environment of a child without the relay's configuration, which may hold tokens; its thread pool has the size that disks which hang ask for. */
export function inheritedEnvironment (env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return { UV_THREADPOOL_SIZE: String(WANTED_THREADS), ...Object.fromEntries(Object.entries(withoutListenSockets(env)).filter(([name]) => !name.startsWith('ICN_RELAY_'))) }
}
