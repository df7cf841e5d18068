import { spawn, type ChildProcess } from 'node:child_process'
import { chown, mkdir } from 'node:fs/promises'
import type { Socket } from 'node:net'
import { constants } from 'node:os'
import { dirname, resolve } from 'node:path'
import { RelayError, systemCode } from '../base/errors.ts'
import { makeDirectory } from '../base/make-directory.ts'
import { LAUNCHED, type FromLauncher, type ToLauncher } from '../channel/launcher-messages.ts'
import type { Config } from '../config/config.ts'
import { gatewayCommand, gatewayPaths, spawnGateway, type Command } from '../spawn/gateway-process.ts'
import { handOn, listenSockets, withoutListenSockets, type ListenSockets } from '../spawn/listen-sockets.ts'
import { findAccount, type Account } from './accounts.ts'
import { commandAs } from './command-as.ts'

/*
 * As root the program is this launcher and nothing else: it starts the relay as `process.user`, its gateway as `process.gateway_user` when the relay
 * asks, and passes signals on. What it starts is fixed before the relay runs, and nothing the relay says becomes part of a command.
 */

/** Of the relay to end after it was told; then it is killed, ms. It keeps its own time, which is shorter. */
const STOP_MARGIN_MS = 10_000
/** Of the relay, behind its channel to here. */
const FIRST_FREE_FD = 4
/** Exit code when a signal could not end this process, as shells count. */
const EXIT_OF_SIGNAL = 128

/** How the program ends. */
export interface Ending { readonly code: number | null, readonly signal: NodeJS.Signals | null }

/** Whether the configuration asks for other users, and this process may become them. */
export function isLauncher (config: Config): boolean {
  return config.process.user !== '' && process.getuid?.() === 0
}

/**
 * Starts the relay as the configured user and waits for its end.
 * @throws RelayError RELAY_ERR_CONFIG, RELAY_ERR_CACHE_PATH
 */
export async function launch (config: Config): Promise<Ending> {
  const user = await findAccount(config.process.user, 'process.user')
  const separate = config.process.gateway_user !== ''
  // In the relay's group, whose members may read cached shards.
  const gatewayUser = separate ? { ...await findAccount(config.process.gateway_user, 'process.gateway_user'), gid: user.gid } : user
  if (separate && gatewayUser.uid === user.uid) throw new RelayError('RELAY_ERR_CONFIG', 'process.gateway_user must be another user than process.user')
  await prepareCache(resolve(config.cache.path), user, separate ? gatewayUser : undefined)
  const gateway = await commandAs(gatewayCommand(gatewayPaths(config.cache.path, separate)), gatewayUser, config)
  const sockets = listenSockets(process.env, process.pid)
  const relay = await commandAs({
    file: process.execPath,
    args: [...process.execArgv, ...process.argv.slice(1)],
    options: { env: { ...withoutListenSockets(process.env), [LAUNCHED]: '1', ...handOn(sockets, FIRST_FREE_FD).env } }
  }, user, config)
  return await new Launcher(relay, gateway, sockets, config.viewer.lame_duck_ms + config.viewer.stop_timeout_ms + STOP_MARGIN_MS).run()
}

/** What the relay could not make itself below a directory of root's: its cache, and a place of the gateway's own in it. */
async function prepareCache (path: string, user: Account, gatewayUser: Account | undefined): Promise<void> {
  try {
    const first = await makeDirectory({ mkdir }, path)
    if (first !== undefined) for (let made = path; made.length >= first.length; made = dirname(made)) await chown(made, user.uid, user.gid)
    if (gatewayUser === undefined) return
    const { engine } = gatewayPaths(path, true)
    for (const own of [dirname(engine), engine]) {
      if (await makeDirectory({ mkdir }, own) !== undefined) await chown(own, gatewayUser.uid, gatewayUser.gid)
    }
  } catch (error) {
    throw new RelayError('RELAY_ERR_CACHE_PATH', `cache.path ${path} cannot be made for process.user: ${systemCode(error) ?? String(error)}`, { cause: error })
  }
}

class Launcher {
  readonly #relay: ChildProcess
  readonly #gatewayCommand: Command
  readonly #sockets: ListenSockets
  readonly #stopMs: number
  #gateway: ChildProcess | undefined

  constructor (relay: Command, gatewayCommand: Command, sockets: ListenSockets, stopMs: number) {
    this.#gatewayCommand = gatewayCommand
    this.#sockets = sockets
    this.#stopMs = stopMs
    // In a process group of its own, so that Ctrl-C reaches it once, from here.
    this.#relay = spawn(relay.file, relay.args, { ...relay.options, detached: true, stdio: ['inherit', 'inherit', 'inherit', 'ipc', ...handOn(sockets, FIRST_FREE_FD).stdio], serialization: 'json' })
  }

  async run (): Promise<Ending> {
    for (const signal of ['SIGTERM', 'SIGINT', 'SIGQUIT', 'SIGHUP', 'SIGUSR1'] as const) {
      process.removeAllListeners(signal)
      process.on(signal, () => { this.#pass(signal) })
    }
    this.#relay.on('message', message => { this.#hear(message as ToLauncher) })
    return await new Promise<Ending>((resolve, reject) => {
      this.#relay.once('error', error => { reject(new RelayError('RELAY_ERR_CONFIG', `the relay cannot be started as process.user: ${error.message}`, { cause: error })) })
      this.#relay.once('close', (code, signal) => {
        this.#gateway?.kill('SIGKILL')
        resolve({ code, signal })
      })
    })
  }

  #pass (signal: NodeJS.Signals): void {
    this.#relay.kill(signal)
    if (signal !== 'SIGHUP' && signal !== 'SIGUSR1') setTimeout(() => { this.#relay.kill('SIGKILL') }, this.#stopMs).unref()
  }

  /** One gateway at a time: a relay that says otherwise is not heard. */
  #hear ({ type }: ToLauncher): void {
    if (type === 'kill-gateway') this.#gateway?.kill('SIGKILL')
    else if (type === 'start-gateway' && this.#gateway === undefined) this.#startGateway()
  }

  #startGateway (): void {
    const ended = (code: number | null, signal: NodeJS.Signals | null): void => {
      this.#gateway = undefined
      this.#tell({ type: 'gateway-ended', code, signal })
    }
    try {
      const { child, socket } = spawnGateway(this.#gatewayCommand, {
        output: text => { this.#tell({ type: 'gateway-output', text }) },
        failed: error => { this.#tell({ type: 'gateway-failed', detail: error.message }) },
        closed: ended
      }, { detached: true, websocket: this.#sockets.websocket })
      this.#gateway = child
      if (child.pid === undefined || socket === undefined) return
      // Nothing is lost: the gateway says nothing before it has heard the relay.
      this.#tell({ type: 'gateway', pid: child.pid }, socket)
      // It is the relay's now; the child counts as closed when all of its streams are.
      socket.destroy()
    } catch (error) {
      this.#tell({ type: 'gateway-failed', detail: String(error) })
      ended(null, null)
    }
  }

  #tell (message: FromLauncher, socket?: Socket): void {
    // A relay that is gone takes its gateway along.
    if (this.#relay.connected) this.#relay.send(message, socket, {}, () => {})
  }
}

/** Ends this process as the relay ended. */
export function endAs ({ code, signal }: Ending): never {
  if (signal !== null) {
    process.removeAllListeners(signal)
    process.kill(process.pid, signal)
    // Process 1 does not end by a signal of its own.
    process.exit(EXIT_OF_SIGNAL + constants.signals[signal])
  }
  process.exit(code ?? 1)
}
