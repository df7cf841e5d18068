import { askRunning, type AskAdmin } from '../ask-admin.ts'
import { ADMIN, command, fail, JSON_OPTION, jsonText, type Operands } from '../command.ts'

/** Entries of one command. */
const MAX_ENTRIES = 1_000

/** What `block` and `unblock` are asked for. */
export interface BlockRequest {
  /** As they stand in a denylist. */
  readonly entries: readonly string[]
  readonly json: boolean
  readonly admin: string | undefined
}

const ENTRIES: Operands = { shown: 'ENTRY…', says: 'a CID, a prefix and *, or // and a SHA-256' }

function checkEntries (name: string, entries: readonly string[]): void {
  if (entries.length === 0 || entries.length > MAX_ENTRIES) fail(`${name} takes 1 to 1,000 entries: CIDs, prefixes with *, or // and a SHA-256`)
}

/** Has a running relay put entries on its denylist. @returns how many were not on it @throws RelayError RELAY_ERR_CONFIG */
export async function denyEntries (ask: AskAdmin<{ readonly added: number }>, entries: readonly string[], reason: string): Promise<number> {
  const { added } = await ask('/denylist/entries', { entries, reason })
  return added
}

/** Has it take them off. @throws RelayError RELAY_ERR_CONFIG */
export async function allowEntries (ask: AskAdmin<unknown>, entries: readonly string[]): Promise<void> {
  for (const entry of entries) await ask(`/denylist/entries/${encodeURIComponent(entry)}`, undefined, 'DELETE')
}

export const block = command({
  name: 'block',
  summary: 'have a running relay serve no more of these, from now on and over restarts',
  operands: ENTRIES,
  options: {
    ...ADMIN,
    ...JSON_OPTION,
    reason: { value: 'TEXT', says: 'for whoever asks later', mustBe: [/^[^]{0,200}$/, 'at most 200 characters'] }
  },
  take: ({ admin, json, reason = '' }, entries): BlockRequest & { readonly reason: string } => {
    checkEntries('block', entries)
    return { entries, reason, json, admin }
  },
  run: async ({ entries, reason, json, admin }, { settings, write }) => {
    const added = await denyEntries(await askRunning('block', settings(), admin), entries, reason)
    await write(json ? jsonText({ added }) : `${added} of ${entries.length} added; the others were denied already\n`)
    return 0
  }
})

export const unblock = command({
  name: 'unblock',
  summary: 'have it take entries off its denylist',
  operands: ENTRIES,
  options: { ...ADMIN, ...JSON_OPTION },
  take: ({ admin, json }, entries): BlockRequest => {
    checkEntries('unblock', entries)
    return { entries, json, admin }
  },
  run: async ({ entries, json, admin }, { settings, write }) => {
    await allowEntries(await askRunning('unblock', settings(), admin), entries)
    await write(json ? jsonText({ removed: entries.length }) : `${entries.length} removed; other lists of the relay may deny the same\n`)
    return 0
  }
})
