import { askRunning, type AskAdmin } from '../ask-admin.ts'
import { ADMIN, command, fail, type Operands } from '../command.ts'

/** Entries of one command. */
const MAX_ENTRIES = 1_000

/** What `block` and `unblock` are asked for. */
export interface BlockRequest {
  /** As they stand in a denylist. */
  readonly entries: readonly string[]
  readonly admin: string | undefined
}

const ENTRIES: Operands = { shown: 'ENTRY…', says: 'a CID, a prefix and *, or // and a SHA-256' }

function checkEntries (name: string, entries: readonly string[]): void {
  if (entries.length === 0 || entries.length > MAX_ENTRIES) fail(`${name} takes 1 to 1,000 entries: CIDs, prefixes with *, or // and a SHA-256`)
}

/** Has a running relay put entries on its denylist. @returns the line to print @throws RelayError RELAY_ERR_CONFIG */
export async function denyEntries (ask: AskAdmin<{ readonly added: number }>, entries: readonly string[], reason: string): Promise<string> {
  const { added } = await ask('/denylist/entries', { entries, reason })
  return `${added} of ${entries.length} added; the others were denied already`
}

/** Has it take them off. @returns the line to print @throws RelayError RELAY_ERR_CONFIG */
export async function allowEntries (ask: AskAdmin<unknown>, entries: readonly string[]): Promise<string> {
  for (const entry of entries) await ask(`/denylist/entries/${encodeURIComponent(entry)}`, undefined, 'DELETE')
  return `${entries.length} removed; other lists of the relay may deny the same`
}

export const block = command({
  name: 'block',
  summary: 'have a running relay serve no more of these, from now on and over restarts',
  operands: ENTRIES,
  options: {
    ...ADMIN,
    reason: { value: 'TEXT', says: 'for whoever asks later', mustBe: [/^[^]{0,200}$/, 'at most 200 characters'] }
  },
  take: ({ admin, reason = '' }, entries): BlockRequest & { readonly reason: string } => {
    checkEntries('block', entries)
    return { entries, reason, admin }
  },
  run: async ({ entries, reason, admin }, { settings, write }) => {
    await write(`${await denyEntries(await askRunning('block', settings(), admin), entries, reason)}\n`)
    return 0
  }
})

export const unblock = command({
  name: 'unblock',
  summary: 'have it take entries off its denylist',
  operands: ENTRIES,
  options: ADMIN,
  take: ({ admin }, entries): BlockRequest => {
    checkEntries('unblock', entries)
    return { entries, admin }
  },
  run: async ({ entries, admin }, { settings, write }) => {
    await write(`${await allowEntries(await askRunning('unblock', settings(), admin), entries)}\n`)
    return 0
  }
})
