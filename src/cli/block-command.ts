import type { BlockCommand } from './arguments.ts'
import type { AskAdmin } from './ask-admin.ts'

/**
 * Has a running relay put entries on its denylist, or take them off.
 * @returns the line to print
 * @throws RelayError RELAY_ERR_CONFIG
 */
export async function changeDenylist (ask: AskAdmin<{ readonly added?: number }>, { undo, entries, reason }: BlockCommand): Promise<string> {
  if (!undo) {
    const { added = 0 } = await ask('/denylist/entries', { entries, reason })
    return `${added} of ${entries.length} added; the others were denied already`
  }
  for (const entry of entries) await ask(`/denylist/entries/${encodeURIComponent(entry)}`, undefined, 'DELETE')
  return `${entries.length} removed; other lists of the relay may deny the same`
}
