import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

/** Top folder of the repository; every child runs in it, so that `--import tsx` resolves from anywhere. */
export const ROOT = fileURLToPath(new URL('..', import.meta.url))

/** Lines of output kept to explain a death. */
const TAIL_LINES = 12
/** Time between SIGTERM and SIGKILL. */
const STOP_MS = 8000

/** How a process ended. */
export interface End {
  /** One line saying how, and what the process said last. */
  readonly text: string
  /** Whether somebody ended it, by a signal, and it did not fail. */
  readonly asked: boolean
}

/** A child process of the demo, known by its handle and never looked up by name. */
export interface Child {
  readonly name: string
  readonly pid: number
  readonly running: boolean
  /** Never rejects. */
  readonly died: Promise<End>
  /** First line of standard output that is JSON with this `event`. Rejects when the process ends before. */
  event (event: string): Promise<Record<string, unknown>>
  /** SIGTERM, SIGKILL after 8 s; resolves when the process is gone. */
  stop (): Promise<void>
}

// ICN_RELAY_* of the user's shell configure the user's relay, not the demo's.
function cleanEnvironment (): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('ICN_RELAY_')))
}

function howItEnded (name: string, code: number | null, signal: string | null, tail: readonly string[]): End {
  const how = signal === null ? `exited with code ${code}` : `was ended by ${signal}`
  return { text: `${name} ${how}${tail.length === 0 ? '' : `; it said:\n  ${tail.join('\n  ')}`}`, asked: signal !== null || code === 0 }
}

/** Starts a TypeScript or JavaScript file of the repository under this Node. */
export function startChild (name: string, file: string, args: readonly string[]): Child {
  const loader = file.endsWith('.ts') ? ['--import', 'tsx'] : []
  const child: ChildProcess = spawn(process.execPath, [...loader, file, ...args], {
    cwd: ROOT,
    env: cleanEnvironment(),
    // The channel tells a super-node that its parent is gone; nothing is sent over it.
    stdio: ['ignore', 'pipe', 'pipe', 'ipc']
  })
  const tail: string[] = []
  const events = new Map<string, Record<string, unknown>>()
  const waiting = new Map<string, (value: Record<string, unknown>) => void>()
  const read = (stream: NodeJS.ReadableStream | null, onLine: (line: string) => boolean): void => {
    if (stream === null) return
    createInterface({ input: stream }).on('line', line => {
      if (onLine(line)) return
      tail.push(line.slice(0, 500))
      if (tail.length > TAIL_LINES) tail.shift()
    })
  }
  read(child.stderr, () => false)
  read(child.stdout, line => {
    const parsed = parseEvent(line)
    if (parsed === undefined) return false
    events.set(parsed.event, parsed)
    waiting.get(parsed.event)?.(parsed)
    return true
  })
  const ended = new Promise<End>(resolve => {
    child.once('error', error => { resolve({ text: `${name} could not be started: ${error.message}`, asked: false }) })
    // `close` and not `exit`: the last lines have been read by then.
    child.once('close', (code, signal) => { resolve(howItEnded(name, code, signal, tail)) })
  })
  return {
    name,
    pid: child.pid ?? 0,
    get running () { return child.pid !== undefined && child.exitCode === null && child.signalCode === null },
    died: ended,
    event: async event => {
      const happened = new Promise<Record<string, unknown>>(resolve => {
        const known = events.get(event)
        if (known === undefined) waiting.set(event, resolve)
        else resolve(known)
      })
      return Promise.race([happened, ended.then(({ text }) => { throw new Error(text) })])
    },
    stop: async () => {
      if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return
      const gone = once(child, 'exit')
      child.kill('SIGTERM')
      const timer = setTimeout(() => child.kill('SIGKILL'), STOP_MS)
      await gone
      clearTimeout(timer)
    }
  }
}

function parseEvent (line: string): Record<string, unknown> & { event: string } | undefined {
  if (!line.startsWith('{"event":')) return undefined
  try {
    return JSON.parse(line) as Record<string, unknown> & { event: string }
  } catch {
    return undefined
  }
}
