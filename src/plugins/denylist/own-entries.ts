import { readFile } from 'node:fs/promises'
import Type, { type Static } from 'typebox'
import { RelayError, systemCode } from '../../base/errors.ts'
import { schemaCheck } from '../../base/schema-check.ts'
import { Serial } from '../../base/serial.ts'
import { parseState } from '../../base/state-file.ts'
import { DeniedSet } from './denied-set.ts'
import { parseEntry } from './entry.ts'

/** Entries of operators; longer lists are files. */
export const MAX_OWN_ENTRIES = 10_000

/** As the admin API shows it. */
export const OwnEntrySchema = Type.Object({
  entry: Type.String({ minLength: 1, maxLength: 140, description: 'a CID, a prefix and `*`, or `//` and the SHA-256 of `<CID>/`' }),
  reason: Type.String({ maxLength: 200, description: 'for whoever asks later' }),
  since: Type.Integer({ minimum: 0, description: 'milliseconds since the epoch' })
}, { additionalProperties: false })
export type OwnEntry = Static<typeof OwnEntrySchema>

const StateFile = Type.Object({ version: Type.Literal(1), entries: Type.Array(OwnEntrySchema, { maxItems: MAX_OWN_ENTRIES }) }, { additionalProperties: false })
const stateCheck = schemaCheck<Static<typeof StateFile>>(StateFile)

/** What operators deny over the admin API. It is kept before it holds, so that a restart forgets nothing that was confirmed. */
export class OwnEntries {
  #entries: ReadonlyMap<string, OwnEntry>
  readonly #keep: (text: string) => Promise<void>
  readonly #serial = new Serial()

  /** @param keep writes the file anew */
  constructor (entries: readonly OwnEntry[], keep: (text: string) => Promise<void>) {
    this.#entries = new Map(entries.map(one => [one.entry, one]))
    this.#keep = keep
  }

  get size (): number { return this.#entries.size }

  /** The latest first. */
  list (): OwnEntry[] { return [...this.#entries.values()].toReversed() }

  set (): DeniedSet {
    const set = new DeniedSet(this.#entries.size)
    for (const { entry } of this.#entries.values()) set.add(parseEntry(entry))
    return set
  }

  /**
   * @returns how many are new
   * @throws RelayError RELAY_ERR_BAD_REQUEST, with nothing changed; what writing the file throws
   */
  async add (entries: readonly string[], reason: string, now: number): Promise<number> {
    for (const entry of entries) parseEntry(entry)
    return await this.#change(map => { for (const entry of entries) if (!map.has(entry)) map.set(entry, { entry, reason, since: now }) })
  }

  /** @returns whether it was there; what writing the file throws */
  async remove (entry: string): Promise<boolean> {
    return await this.#change(map => { map.delete(entry) }) < 0
  }

  /** One after the other. @returns how many more there are */
  async #change (change: (map: Map<string, OwnEntry>) => void): Promise<number> {
    return await this.#serial.run(async () => {
      const next = new Map(this.#entries)
      change(next)
      if (next.size > MAX_OWN_ENTRIES) throw new RelayError('RELAY_ERR_BAD_REQUEST', `at most ${MAX_OWN_ENTRIES} entries are kept; write longer lists to denylist.file`)
      const more = next.size - this.#entries.size
      if (more === 0) return 0
      await this.#keep(ownEntriesText([...next.values()]))
      this.#entries = next
      return more
    })
  }
}

export function ownEntriesText (entries: readonly OwnEntry[]): string {
  return `${JSON.stringify({ version: 1, entries })}\n`
}

/**
 * The entries kept in a file; none where there is no file.
 * @throws RelayError RELAY_ERR_CONFIG when it cannot be read or understood: a relay that forgot what it must not serve would serve it
 */
export async function loadOwnEntries (file: string): Promise<readonly OwnEntry[]> {
  try {
    const { entries } = parseState(await readFile(file, 'utf8'), stateCheck())
    for (const { entry } of entries) parseEntry(entry)
    return entries
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return []
    const why = error instanceof RelayError ? error.message.trim() : systemCode(error) ?? String(error)
    throw new RelayError('RELAY_ERR_CONFIG', `the denylist ${file} cannot be used: ${why}; mend it, or move it away to begin an empty one`, { cause: error })
  }
}
