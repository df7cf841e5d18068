/** Processes of a benchmark that carry out orders, one at a time. */
import { fork, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { Cleanup } from '../tools/harness/cleanup.ts'

const ROOT = fileURLToPath(new URL('../', import.meta.url))

/** A program of `benchmarks/`, in this checkout or in another one. */
export function startChild (cleanup: Cleanup, file: string, { root = ROOT, args = [] }: { root?: string, args?: readonly string[] } = {}): ChildProcess {
  const started = fork(`${root}/benchmarks/${file}`, [...args], { cwd: root, execArgv: ['--import', 'tsx'], stdio: ['ignore', 'ignore', 'inherit', 'ipc'] })
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
