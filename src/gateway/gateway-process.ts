import { spawn } from 'node:child_process'
import { Socket } from 'node:net'
import { fileURLToPath } from 'node:url'
import { Channel } from './channel.ts'
import { inheritedArguments, inheritedEnvironment } from './exec-arguments.ts'
import type { SendToGateway } from './protocol.ts'

/** The heap cannot outgrow what the supervisor would replace the process for anyway. */
const OLD_SPACE_MB = 512

const ENTRY = fileURLToPath(new URL(import.meta.url.endsWith('.ts') ? './main.ts' : './main.js', import.meta.url))

/** A gateway that was started, by this process or for it. */
export interface GatewayProcess {
  /** Undefined when it could not be started; `closed` follows. */
  readonly pid: number | undefined
  readonly send: SendToGateway
  kill (): void
}

export interface GatewayProcessEvents {
  message (value: unknown): void
  /** What it says is no message. */
  broken (detail: string): void
  /** What native code and Node printed. */
  output (text: string): void
  failed (error: Error): void
  /** It has ended; called once, last. */
  closed (code: number | null, signal: NodeJS.Signals | null): void
}

/** @throws Error when the system has no memory or descriptors for one */
export type StartGateway = (events: GatewayProcessEvents) => GatewayProcess

/** Program and arguments of a gateway. @param entry its module; tests give one of their own */
export function gatewayCommand (entry = ENTRY): { readonly file: string, readonly args: readonly string[], readonly env: NodeJS.ProcessEnv } {
  return {
    file: process.execPath,
    args: [...inheritedArguments(process.execArgv), `--max-old-space-size=${OLD_SPACE_MB}`, entry],
    env: inheritedEnvironment(process.env)
  }
}

/** Descriptors of a gateway: the log is the relay's, what native code prints goes into the line about its end; the fourth is the channel. */
export const GATEWAY_STDIO = ['ignore', 'pipe', 'pipe', 'pipe'] as const

/** Starts gateways as children of this process. */
export function childGateways (entry?: string): StartGateway {
  return events => {
    const { file, args, env } = gatewayCommand(entry)
    const child = spawn(file, args, { env, stdio: [...GATEWAY_STDIO] })
    const [, , , socket] = child.stdio
    const channel = socket instanceof Socket ? new Channel(socket, { message: events.message, broken: events.broken, closed: () => {} }) : undefined
    for (const stream of [child.stdout, child.stderr]) stream?.setEncoding('utf8').on('data', events.output)
    child.on('error', events.failed)
    // A child that could not be spawned emits error and close, and no exit.
    child.once('close', events.closed)
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
