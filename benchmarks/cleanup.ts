export interface Cleanup { after (undo: () => Promise<void> | void): void }

/** Runs a program and undoes, last first, what it asked to have undone, also when it fails. */
export async function withCleanup (program: (cleanup: Cleanup) => Promise<void>): Promise<void> {
  const undone: (() => Promise<void> | void)[] = []
  try {
    await program({ after: undo => { undone.push(undo) } })
  } finally {
    for (const undo of undone.reverse()) await undo()
  }
}
