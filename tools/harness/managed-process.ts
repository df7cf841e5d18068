import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { resolve } from 'node:path'
import { createInterface } from 'node:readline'
import type { Readable } from 'node:stream'
import { finished } from 'node:stream/promises'
import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { accepts } from './http.ts'
import { usageOf, type Usage } from './proc.ts'

/** Top folder of the repository. */
export const ROOT = fileURLToPath(new URL('../../', import.meta.url))

/** Runs a script of this repository, or a built one, in this Node: sources are compiled as they are loaded. */
export function nodeCommand (script: string, ...args: readonly string[]): string[] {
  return [process.execPath, ...loaderOf(script), resolve(ROOT, script), ...args]
}

/** Options of Node with which it runs a script. */
export const loaderOf = (script: string): readonly string[] => /[.]c?ts$/.test(script) ? ['--import', 'tsx'] : []

/** Lines of output kept to explain an end, and characters of each. */
const TAIL_LINES = 12
const TAIL_CHARACTERS = 500
/** Characters of standard error kept. */
const STDERR_CHARACTERS = 20_000
/** Events kept; when there are twice as many, the older half goes. */
const MAX_EVENTS = 20_000
/** From SIGTERM, or the end of the channel, to SIGKILL, ms. */
const STOP_MS = 8_000
const READY_MS = 120_000

export interface ProcessOptions {
  /** For errors; the program by default. */
  readonly name?: string
  /** This repository by default, so that `--import tsx` resolves from anywhere. */
  readonly cwd?: string
  /** Added to our own. */
  readonly env?: Readonly<Record<string, string>>
  /** A channel for messages, to a Node program, which is to end when it is closed. */
  readonly ipc?: boolean
  /** Descriptors 3 and on. */
  readonly descriptors?: readonly number[]
  /** The only core it may run on (taskset(1)). */
  readonly core?: number | undefined
}

/** How a process ended. Both are null of one that could not be started. */
export interface Exit {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
}

type Event = Readonly<Record<string, unknown>>

/** Our environment without ICN_RELAY_*, which configure the user's relay and none of ours. */
function environment (): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('ICN_RELAY_')))
}

/**
 * A child process of a tool, a test or the demo: known by its handle and never looked up by name, with what it says. Who starts it ends it: by `kill`, `stop` or
 * `disconnect`. taskset(1), unshare(1) and sh(1) with `exec` become the program they start, so `pid` is that of the program.
 */
export class ManagedProcess {
  readonly name: string
  readonly child: ChildProcess
  /** Lines of standard output that were JSON objects, the newest 20,000 at least. */
  readonly events: Event[] = []
  /** Never rejects; the output has been read by then. */
  readonly exit: Promise<Exit>
  /** One line that says how it ended, and what it said last. Never rejects. */
  readonly ended: Promise<string>
  readonly #tail: string[] = []
  readonly #listeners = new Set<(event: Event) => void>()
  #stderr = ''
  #over = false

  private constructor (name: string, child: ChildProcess) {
    this.name = name
    this.child = child
    this.#read(child.stdout)
    this.#read(child.stderr)
    child.stderr?.setEncoding('utf8').on('data', (text: string) => { this.#stderr = (this.#stderr + text).slice(-STDERR_CHARACTERS) })
    const end = new Promise<Exit & { readonly failure?: Error }>(resolve => {
      // Of one that runs it is a message that did not get through, and its end says more.
      child.on('error', failure => { if (child.pid === undefined) resolve({ code: null, signal: null, failure }) })
      // What `close` is for, but Node does not emit it for one whose channel we have closed.
      const output = Promise.all([child.stdout, child.stderr].map(async stream => { if (stream !== null) await finished(stream).catch(() => {}) }))
      child.once('exit', (code, signal) => { void output.then(() => { resolve({ code, signal }) }) })
    }).then(exit => {
      this.#over = true
      return exit
    })
    this.exit = end.then(({ code, signal }) => ({ code, signal }))
    this.ended = end.then(({ code, signal, failure }) => failure === undefined
      ? `${name} ${signal === null ? `exited with code ${String(code)}` : `was ended by ${signal}`}${this.#last()}`
      : `${name} could not be started: ${failure.message}`)
  }

  /** One that cannot be started has ended: whatever is asked of it says so. */
  static start (command: readonly string[], { name, cwd = ROOT, env = {}, ipc = false, descriptors = [], core }: ProcessOptions = {}): ManagedProcess {
    const [program = '', ...args] = core === undefined ? command : ['taskset', '-c', String(core), ...command]
    const child = spawn(program, args, { cwd, env: { ...environment(), ...env }, stdio: ['ignore', 'pipe', 'pipe', ...descriptors, ...ipc ? ['ipc' as const] : []] })
    return new ManagedProcess(name ?? program, child)
  }

  get pid (): number { return this.child.pid ?? 0 }

  get running (): boolean { return !this.#over && this.child.exitCode === null && this.child.signalCode === null }

  /** The last it wrote on standard error. */
  stderr (): string { return this.#stderr }

  /** Tells `listener` of every event from now on. @returns ends it */
  onEvent (listener: (event: Event) => void): () => void {
    this.#listeners.add(listener)
    return () => { this.#listeners.delete(listener) }
  }

  /** The first event that matches, also one that was. @throws Error when the process ends before */
  async waitFor (matches: (event: Event) => boolean): Promise<Event> {
    const known = this.events.find(matches)
    if (known !== undefined) return known
    let forget = (): void => {}
    try {
      return await Promise.race([new Promise<Event>(resolve => {
        forget = this.onEvent(event => { if (matches(event)) resolve(event) })
      }), this.#dies()])
    } finally {
      forget()
    }
  }

  /** Polls until `condition` holds; one that throws does not hold yet. @throws Error when the process ends before, or takes too long */
  async until (condition: () => Promise<boolean>, what: string): Promise<void> {
    const deadline = performance.now() + READY_MS
    for (;;) {
      if (await Promise.race([condition().catch(() => false), this.#dies()])) return
      if (performance.now() > deadline) throw new Error(`${this.name} is not ${what} after ${READY_MS / 1_000} s${this.#last()}`)
      await pause(50)
    }
  }

  /** Resolves when something listens on the TCP ports of 127.0.0.1. @throws Error when the process ends before, or takes too long */
  async listening (...ports: readonly number[]): Promise<void> {
    await this.until(async () => (await Promise.all(ports.map(accepts))).every(Boolean), `listening on ${ports.join(', ')}`)
  }

  /** Sends a message over the channel and waits for the next one. @throws Error when the process ends instead */
  async ask<Answer> (message: object): Promise<Answer> {
    const answer = this.answer<Answer>()
    this.child.send(message)
    return await answer
  }

  /** The next message. @throws Error when the process ends before */
  async answer<Answer> (): Promise<Answer> {
    const abort = new AbortController()
    try {
      const [answer] = await Promise.race([once(this.child, 'message', { signal: abort.signal }), this.#dies()]) as [Answer]
      return answer
    } finally {
      abort.abort()
    }
  }

  /** CPU time and memory of it and its descendants (Linux). @throws Error when it has ended */
  async usage (): Promise<Usage> {
    if (!this.running) return await this.#dies()
    return await usageOf(this.pid)
  }

  /** SIGKILL; resolves when the process is gone. */
  async kill (): Promise<void> {
    if (this.running) this.child.kill('SIGKILL')
    await this.exit
  }

  /** SIGTERM, SIGKILL after 8 s; resolves when the process is gone. */
  async stop (): Promise<void> {
    await this.#end(() => { this.child.kill('SIGTERM') })
  }

  /** Closes the channel, SIGKILL after 8 s; resolves when the process is gone. */
  async disconnect (): Promise<void> {
    await this.#end(() => { if (this.child.connected) this.child.disconnect() })
  }

  async #end (tell: () => void): Promise<void> {
    if (this.running) tell()
    const timer = setTimeout(() => this.child.kill('SIGKILL'), STOP_MS)
    await this.exit
    clearTimeout(timer)
  }

  async #dies (): Promise<never> {
    throw new Error(await this.ended)
  }

  #last (): string { return this.#tail.length === 0 ? '' : `; it said:\n  ${this.#tail.join('\n  ')}` }

  #read (stream: Readable | null): void {
    if (stream === null) return
    createInterface({ input: stream }).on('line', line => {
      this.#tail.push(line.slice(0, TAIL_CHARACTERS))
      if (this.#tail.length > TAIL_LINES) this.#tail.shift()
      const event = stream === this.child.stdout ? eventOf(line) : undefined
      if (event === undefined) return
      this.events.push(event)
      if (this.events.length > 2 * MAX_EVENTS) this.events.splice(0, MAX_EVENTS)
      for (const listener of this.#listeners) listener(event)
    })
  }
}

function eventOf (line: string): Event | undefined {
  if (!line.startsWith('{')) return undefined
  try {
    return JSON.parse(line) as Event
  } catch {
    return undefined
  }
}
