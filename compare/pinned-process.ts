import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { readdir, readFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { createInterface } from 'node:readline'
import { setTimeout as pause } from 'node:timers/promises'

export interface PinnedOptions {
  readonly name: string
  readonly command: string
  readonly args: readonly string[]
  /** The only core it may run on; undefined pins nothing. */
  readonly core: number | undefined
  readonly env?: Readonly<Record<string, string>>
  /** An IPC channel, for a Node program. */
  readonly ipc?: boolean
}

export interface Usage {
  /** User and system time of the process and all its descendants, ms. */
  readonly cpuMs: number
  readonly residentBytes: number
}

/** Lines of output kept to explain a death. */
const TAIL_LINES = 12
/** From SIGTERM to SIGKILL, ms. */
const STOP_MS = 8_000
const READY_MS = 120_000
/** USER_HZ of Linux is 100 on every architecture we know: one tick of /proc is 10 ms. */
const TICK_MS = 10

/** A process on a core of its own, known by its handle and never looked up by name. */
export class PinnedProcess {
  readonly name: string
  readonly child: ChildProcess
  readonly #ended: Promise<string>
  readonly #tail: string[] = []
  #exited = false

  private constructor (name: string, child: ChildProcess) {
    this.name = name
    this.child = child
    for (const stream of [child.stdout, child.stderr]) {
      if (stream === null) continue
      createInterface({ input: stream }).on('line', line => {
        this.#tail.push(line.slice(0, 300))
        if (this.#tail.length > TAIL_LINES) this.#tail.shift()
      })
    }
    this.#ended = new Promise(resolve => {
      child.once('error', error => {
        this.#exited = true
        resolve(`${name} could not be started: ${error.message}`)
      })
      child.once('close', (code, signal) => {
        this.#exited = true
        resolve(`${name} ended with ${code ?? signal ?? '?'}${this.#tail.length === 0 ? '' : `: ${this.#tail.join(' / ')}`}`)
      })
    })
  }

  static async start ({ name, command, args, core, env = {}, ipc = false }: PinnedOptions): Promise<PinnedProcess> {
    const [program, ...rest] = core === undefined ? [command, ...args] : ['taskset', '-c', String(core), command, ...args]
    // ICN_RELAY_* of the user's shell configure the user's relay.
    const inherited = Object.fromEntries(Object.entries(process.env).filter(([key]) => !key.startsWith('ICN_RELAY_')))
    const started = new PinnedProcess(name, spawn(program ?? command, rest, { env: { ...inherited, ...env }, stdio: ['ignore', 'pipe', 'pipe', ...ipc ? ['ipc' as const] : []] }))
    await Promise.race([once(started.child, 'spawn'), started.#dies()])
    return started
  }

  /** taskset becomes the program it starts. */
  get pid (): number { return this.child.pid ?? 0 }

  /** Resolves when something listens on the TCP ports of 127.0.0.1. @throws Error when the process ends before, or takes too long */
  async listening (...ports: readonly number[]): Promise<void> {
    await this.until(async () => (await Promise.all(ports.map(accepts))).every(Boolean), `listening on ${ports.join(', ')}`)
  }

  /** Polls until `condition` holds; one that throws does not hold yet. @throws Error when the process ends before, or takes too long */
  async until (condition: () => Promise<boolean>, what: string): Promise<void> {
    const deadline = performance.now() + READY_MS
    for (;;) {
      if (await Promise.race([condition().catch(() => false), this.#dies()])) return
      if (performance.now() > deadline) throw new Error(`${this.name} is not ${what} after ${READY_MS / 1_000} s${this.#tail.length === 0 ? '' : `: ${this.#tail.join(' / ')}`}`)
      await pause(50)
    }
  }

  /** Sends a message over IPC and waits for the next one. @throws Error when the process ends instead */
  async ask<T> (message: object): Promise<T> {
    const answer = once(this.child, 'message') as Promise<[T]>
    this.child.send(message)
    const [value] = await Promise.race([answer, this.#dies()])
    return value
  }

  async usage (): Promise<Usage> {
    if (this.#exited) throw new Error(await this.#ended)
    return await usageOf(this.pid)
  }

  /** SIGTERM, SIGKILL after 8 s; resolves when the process is gone. */
  async stop (): Promise<void> {
    if (this.#exited) return
    this.child.kill('SIGTERM')
    const timer = setTimeout(() => this.child.kill('SIGKILL'), STOP_MS)
    await this.#ended
    clearTimeout(timer)
  }

  async #dies (): Promise<never> {
    throw new Error(await this.#ended)
  }
}

async function accepts (port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1')
  try {
    await once(socket, 'connect')
    return true
  } catch {
    return false
  } finally {
    socket.destroy()
  }
}

/** CPU time and memory of a process and its descendants (Linux); those that end meanwhile are left out. */
export async function usageOf (pid: number): Promise<Usage> {
  const [stat, status, children] = await Promise.all([
    readFile(`/proc/${pid}/stat`, 'utf8').catch(() => ''),
    readFile(`/proc/${pid}/status`, 'utf8').catch(() => ''),
    childrenOf(pid)
  ])
  // The second field is the name in parentheses, which may hold spaces; utime and stime are the 14th and 15th.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  const below = await Promise.all(children.map(usageOf))
  return {
    cpuMs: (Number(fields[11] ?? 0) + Number(fields[12] ?? 0)) * TICK_MS + below.reduce((sum, { cpuMs }) => sum + cpuMs, 0),
    residentBytes: Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1] ?? 0) * 1_024 + below.reduce((sum, { residentBytes }) => sum + residentBytes, 0)
  }
}

async function childrenOf (pid: number): Promise<number[]> {
  const threads = await readdir(`/proc/${pid}/task`).catch(() => [])
  const lists = await Promise.all(threads.map(async thread => await readFile(`/proc/${pid}/task/${thread}/children`, 'utf8').catch(() => '')))
  return lists.flatMap(list => list.split(' ').filter(text => text !== '').map(Number))
}
