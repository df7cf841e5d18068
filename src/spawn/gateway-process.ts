import { spawn, type ChildProcess } from 'node:child_process'
import { Socket } from 'node:net'
import { join, resolve } from 'node:path'
import { startedModule } from '../base/package-root.ts'
import { Channel } from '../channel/channel.ts'
import type { SendToGateway } from '../channel/to-gateway.ts'
import { inheritedArguments, inheritedEnvironment } from './exec-arguments.ts'
import { isInstrumented, permissionArguments, type GatewayPaths } from './permissions.ts'

/** The heap cannot outgrow what the supervisor would replace the process for anyway. */
const OLD_SPACE_MB = 512

/** Below `cache.path`, of a gateway that is another user. */
const GATEWAY_DIRECTORY = 'gateway'

const ENTRY = startedModule('gateway/main')

/** A gateway that was started, by this process or for it. */
export interface GatewayProcess {
  /** Undefined when it could not be started; `closed` follows. */
  readonly pid: number | undefined
  readonly send: SendToGateway
  readonly kill: () => void
}

export interface GatewayProcessEvents {
  readonly message: (value: unknown) => void
  /** What it says is not a message. */
  readonly broken: (detail: string) => void
  /** What native code and Node printed. */
  readonly output: (text: string) => void
  readonly failed: (error: Error) => void
  /** It has ended; called once, last. */
  readonly closed: (code: number | null, signal: NodeJS.Signals | null) => void
}

/** @throws Error when the system has no memory or descriptors for one */
export type StartGateway = (events: GatewayProcessEvents) => GatewayProcess

/** What `spawn` of `node:child_process` is called with. */
export interface Command {
  readonly file: string
  readonly args: readonly string[]
  readonly options: { readonly env: NodeJS.ProcessEnv, readonly uid?: number, readonly gid?: number }
}

/** What a gateway process runs; tests give one of their own. */
export interface GatewayProgram {
  /** Its module; that of this program by default. */
  readonly entry?: string
  /** Options of Node, of which it gets what a child needs; those of this process by default. */
  readonly execArgv?: readonly string[]
}

/** Program and arguments of a gateway. */
export function gatewayCommand (paths: GatewayPaths, { entry = ENTRY, execArgv = process.execArgv }: GatewayProgram = {}): Command {
  const inherited = inheritedArguments(execArgv)
  const limits = isInstrumented([...inherited, ...process.env['NODE_OPTIONS']?.split(/\s+/) ?? []]) ? [] : permissionArguments(entry, paths)
  return {
    file: process.execPath,
    args: [...inherited, `--max-old-space-size=${OLD_SPACE_MB}`, ...limits, entry],
    options: { env: inheritedEnvironment(process.env) }
  }
}

/** Where the gateway of a relay finds what it needs. @param cachePath of the configuration @param own whether the gateway is another user */
export function gatewayPaths (cachePath: string, own: boolean): GatewayPaths {
  const path = resolve(cachePath)
  return { shards: join(path, 'shards'), engine: join(path, ...own ? [GATEWAY_DIRECTORY] : [], 'engine') }
}

/** Descriptors of a gateway: the log is the relay's, what native code prints goes into the line about its end; the fourth is the channel, and behind it may be the socket of WebSocket viewers. */
const STDIO = ['ignore', 'pipe', 'pipe', 'pipe'] as const

/**
 * Starts a gateway and tells of its end and of what it prints.
 * @param options `detached`: in a process group of its own, which a terminal does not signal; `websocket`: descriptor of a socket that listens already
 * @returns the socket to it, undefined when it could not be started
 * @throws Error when the system has no memory or descriptors for one
 */
export function spawnGateway ({ file, args, options }: Command, { output, failed, closed }: Omit<GatewayProcessEvents, 'message' | 'broken'>, { detached = false, websocket }: { readonly detached?: boolean, readonly websocket?: number | undefined } = {}): { readonly child: ChildProcess, readonly socket: Socket | undefined } {
  const child = spawn(file, args, { ...options, detached, stdio: [...STDIO, ...websocket === undefined ? [] : [websocket]] })
  for (const stream of [child.stdout, child.stderr]) stream?.setEncoding('utf8').on('data', output)
  child.on('error', failed)
  // A child that could not be spawned emits error and close, and no exit.
  child.once('close', closed)
  const [, , , socket] = child.stdio
  return { child, socket: child.pid !== undefined && socket instanceof Socket ? socket : undefined }
}

/** Starts gateways as children of this process. @param websocket descriptor of a socket that listens already */
export function childGateways (paths: GatewayPaths, program?: GatewayProgram, websocket?: number): StartGateway {
  return events => {
    const { child, socket } = spawnGateway(gatewayCommand(paths, program), events, { websocket })
    const channel = socket === undefined ? undefined : new Channel(socket, { message: events.message, broken: events.broken, closed: () => {} })
    return {
      pid: child.pid,
      send: (message, sent) => {
        if (channel === undefined) sent?.()
        else channel.send(message, sent)
      },
      kill: () => { child.kill('SIGKILL') }
    }
  }
}
