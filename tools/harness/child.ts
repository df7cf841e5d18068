import type { Cleanup } from './cleanup.ts'
import { ManagedProcess, ROOT } from './managed-process.ts'

export interface ChildOptions {
  readonly args?: readonly string[]
  /** Checkout whose program it is; this one by default. */
  readonly root?: string
  /** A command that runs the program, with its first arguments: `unshare --net`. */
  readonly through?: readonly string[]
}

/**
 * Starts a program of the tools in a process of its own, that carries out orders, one at a time (`ManagedProcess.ask`).
 * @param file program, from the root of its checkout. It is to end when its channel does, which the cleanup closes.
 */
export function startChild (cleanup: Cleanup, file: string, { args = [], root = ROOT, through = [] }: ChildOptions = {}): ManagedProcess {
  const started = ManagedProcess.start([...through, process.execPath, '--import', 'tsx', `${root}/${file}`, ...args], { name: file, cwd: root, ipc: true })
  cleanup.after(async () => { await started.disconnect() })
  return started
}
