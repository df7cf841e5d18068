import { fstatSync } from 'node:fs'
import { RelayError } from '../base/errors.ts'

/** Listeners whose sockets a service manager may hold, by the name that it gives the descriptor. */
export const LISTENERS = ['viewer', 'admin', 'websocket'] as const
export type ListenerName = typeof LISTENERS[number]
/** Descriptors of sockets that listen, or are bound, already. */
export type ListenSockets = Readonly<Partial<Record<ListenerName, number>>>

/** The first of them; sd_listen_fds(3). */
const FIRST_FD = 3
/** Set by the launcher, whose relay has them under other numbers and is another process than the service manager has started. */
const HANDED_ON = 'ICN_LISTEN_SOCKETS'
/** The variables of sd_listen_fds(3). */
const VARIABLES = ['LISTEN_PID', 'LISTEN_FDS', 'LISTEN_FDNAMES', HANDED_ON]

function fail (detail: string): never {
  throw new RelayError('RELAY_ERR_LISTEN', `sockets of the service manager: ${detail}`)
}

function isListener (name: string | undefined): name is ListenerName {
  return LISTENERS.some(known => known === name)
}

/** What a process is given, as name and descriptor. */
function given (env: NodeJS.ProcessEnv, pid: number): [string, number][] {
  const handedOn = env[HANDED_ON]
  if (handedOn !== undefined) return handedOn.split(',').map(pair => [pair.replace(/=.*/, ''), Number(pair.replace(/.*=/, ''))])
  // Meant for somebody else: the variables are inherited, the descriptors are not.
  if (env['LISTEN_FDS'] === undefined || env['LISTEN_PID'] !== String(pid)) return []
  if (!/^\d{1,3}$/.test(env['LISTEN_FDS'])) fail(`LISTEN_FDS is ${JSON.stringify(env['LISTEN_FDS'])} and no number of descriptors`)
  const names = (env['LISTEN_FDNAMES'] ?? '').split(':')
  return Array.from({ length: Number(env['LISTEN_FDS']) }, (_, position) => [names[position] ?? '', FIRST_FD + position])
}

/**
 * The sockets that a service manager has opened for this process; sd_listen_fds(3).
 * @param isSocket whether a descriptor is one
 * @throws RelayError RELAY_ERR_LISTEN naming the one that is wrong
 */
export function listenSockets (env: NodeJS.ProcessEnv, pid: number, isSocket = isOpenSocket): ListenSockets {
  const sockets: Partial<Record<ListenerName, number>> = {}
  for (const [name, fd] of given(env, pid)) {
    if (!isListener(name)) fail(`descriptor ${fd} has the name ${JSON.stringify(name)}, which is none of ${LISTENERS.join(', ')} (FileDescriptorName=)`)
    if (sockets[name] !== undefined) fail(`there are two for ${name}, of which it takes one`)
    if (!isSocket(fd)) fail(`descriptor ${fd}, for ${name}, is no open socket`)
    sockets[name] = fd
  }
  return sockets
}

function isOpenSocket (fd: number): boolean {
  try {
    return fstatSync(fd).isSocket()
  } catch {
    return false
  }
}

/** An environment without what says which sockets there are: they are not a child's. */
export function withoutListenSockets (env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(env).filter(([name]) => !VARIABLES.includes(name)))
}

/**
 * How a child gets them: its descriptors from `first` on, and what its environment says of that.
 * @param first descriptor that is free in the child
 */
export function handOn (sockets: ListenSockets, first: number): { readonly stdio: readonly number[], readonly env: Readonly<Record<string, string>> } {
  const named = LISTENERS.flatMap(name => sockets[name] === undefined ? [] : [[name, sockets[name]] as const])
  return {
    stdio: named.map(([, fd]) => fd),
    env: named.length === 0 ? {} : { [HANDED_ON]: named.map(([name], position) => `${name}=${first + position}`).join(',') }
  }
}
