/** Programs of the tools in processes of their own, that carry out orders, one at a time. */
import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { Cleanup } from './cleanup.ts'

export interface ChildOptions {
  readonly args?: readonly string[]
  /** Checkout whose program it is; this one by default. */
  readonly root?: string
  /** A command that runs the program, with its first arguments: `unshare --net`. */
  readonly through?: readonly [command: string, ...first: string[]]
  /** Where what it says on standard error goes; with ours by default. */
  readonly stderr?: 'inherit' | 'pipe'
}

const ROOT = fileURLToPath(new URL('../../', import.meta.url))

/** @param file program, from the root of its checkout. It is to end when its channel does, which the cleanup closes. */
export function startChild (cleanup: Cleanup, file: string, { args = [], root = ROOT, through, stderr = 'inherit' }: ChildOptions = {}): ChildProcess {
  const [execPath = process.execPath, ...first] = through ?? []
  const started = fork(`${root}/${file}`, [...args], {
    cwd: root,
    execPath,
    execArgv: [...first, ...through === undefined ? [] : [process.execPath], '--import', 'tsx'],
    stdio: ['ignore', 'ignore', stderr, 'ipc']
  })
  cleanup.after(() => { if (started.connected) started.disconnect() })
  return started
}

/** @throws Error when it ends instead of answering */
export async function ask<Answer> (to: ChildProcess, order: object): Promise<Answer> {
  to.send(order)
  return await answerOf<Answer>(to)
}

/** The next thing it says. @throws Error when it ends before */
export async function answerOf<Answer> (from: ChildProcess): Promise<Answer> {
  const abort = new AbortController()
  try {
    const [answer] = await Promise.race([
      once(from, 'message', { signal: abort.signal }),
      once(from, 'exit', { signal: abort.signal }).then(([code]) => { throw new Error(`${from.spawnargs.at(-1) ?? ''} ended with ${String(code)}`) })
    ]) as [Answer]
    return answer
  } finally {
    abort.abort()
  }
}
