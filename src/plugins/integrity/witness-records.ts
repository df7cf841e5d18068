/** What the relay keeps over restarts of manifests that no publisher signed: who vouched for each. */
import { LRUCache } from 'lru-cache'
import Type, { type Static } from 'typebox'
import { schemaCheck } from '../../base/schema-check.ts'
import { loadState, parseState } from '../../base/state-file.ts'
import { CID } from '../../protocol/shard-key.ts'

export const WITNESS_RECORDS_VERSION = 1
/** CIDs of which witnesses are kept, as many as there are manifests in memory; the one that was not used longest goes first. */
export const MAX_WITNESSED = 4_096
/** Witnesses kept of one manifest; `trust.quorum` is no more. */
export const MAX_WITNESSES = 16
/** A file of as many records as there may be, each with the longest names, is smaller. */
const MAX_BYTES = 8 * 1024 * 1024

const StateFile = Type.Object({
  version: Type.Literal(WITNESS_RECORDS_VERSION),
  manifests: Type.Array(Type.Object({
    cid: Type.String({ pattern: CID.source }),
    /** Of its bytes. */
    sha256: Type.String({ pattern: '^[0-9a-f]{64}$' }),
    /** As `witnessOf` names them. */
    witnesses: Type.Array(Type.String({ minLength: 1, maxLength: 80 }), { minItems: 1, maxItems: MAX_WITNESSES })
  }, { additionalProperties: false }), { maxItems: MAX_WITNESSED })
}, { additionalProperties: false })

/** Who had the same manifest of a CID, byte for byte. */
export type WitnessRecord = Readonly<Static<typeof StateFile>['manifests'][number]>

const stateCheck = schemaCheck<Static<typeof StateFile>>(StateFile)

/** Who vouched for the manifests of CIDs. */
export class WitnessRecords {
  readonly #records = new LRUCache<string, WitnessRecord>({ max: MAX_WITNESSED })
  readonly #changed: () => void

  /** @param records the one that was used last at the end @param changed told when there is something else to keep */
  constructor (records: readonly WitnessRecord[], changed: () => void) {
    this.#changed = changed
    for (const record of records) this.#records.set(record.cid, record)
  }

  get size (): number { return this.#records.size }

  /** Who vouched for a manifest; nobody for one with other bytes. @param sha256 lower-case hex */
  of (cid: string, sha256: string): readonly string[] {
    const record = this.#records.get(cid)
    return record?.sha256 === sha256 ? record.witnesses : []
  }

  add (record: WitnessRecord): void {
    this.#records.set(record.cid, { ...record, witnesses: record.witnesses.slice(0, MAX_WITNESSES) })
    this.#changed()
  }

  /** What a file of them holds. */
  toText (): string {
    return `${JSON.stringify({ version: WITNESS_RECORDS_VERSION, manifests: [...this.#records.values()].toReversed() })}\n`
  }
}

/** The records of a file; none when there is none, and, with a warning, when it cannot be used: super-nodes are asked again then. */
export async function loadWitnessRecords (file: string, warn: (message: string, fields: Record<string, unknown>) => void): Promise<readonly WitnessRecord[]> {
  const state = await loadState(file, MAX_BYTES, text => parseState(text, stateCheck(), WITNESS_RECORDS_VERSION), fields => { warn('who vouched for manifests cannot be read: super-nodes are asked again', fields) })
  return state?.manifests ?? []
}
