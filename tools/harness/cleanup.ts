export interface Cleanup { after (undo: () => Promise<void> | void): void }

/**
 * Runs a program and undoes, also when it fails, what it asked to have undone: in the order in which it asked, as the hooks of node:test
 * run, for which what it starts is written. One that fails keeps none of the others from running.
 */
export async function withCleanup<T> (program: (cleanup: Cleanup) => Promise<T>): Promise<T> {
  const undone: (() => Promise<void> | void)[] = []
  try {
    return await program({ after: undo => { undone.push(undo) } })
  } finally {
    for (const undo of undone) {
      try {
        await undo()
      } catch (error) {
        process.stderr.write(`cleaning up: ${String(error)}\n`)
      }
    }
  }
}
