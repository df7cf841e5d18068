import type { EntryRecord } from '../../src/plugins/shard-cache/entry.ts'
import type { IndexDb } from '../../src/plugins/shard-cache/index-db.ts'
import { decodeRecord, encodeRecord, RecordBytes } from '../../src/plugins/shard-cache/record-bytes.ts'
import { parseKeyId } from '../../src/protocol/shard-key.ts'

/** An index in memory that keeps bytes, as LMDB does: what changes after a write is not seen. Passes `test/contracts/index-db.ts`. */
export class MemoryIndexDb implements IndexDb {
  corrupt = 0
  foreign = 0
  /** Batches written, failed ones not among them. */
  readonly batches: string[][] = []
  /** Awaited before a batch is applied; a rejection fails the batch and nothing of it is applied. */
  beforeWrite: (ids: readonly string[]) => Promise<void> | void = () => {}
  readonly #rows: Map<string, Buffer>

  constructor (rows = new Map<string, Buffer>()) {
    this.#rows = rows
  }

  async reopen (): Promise<void> {}

  * load (): Generator<[string, RecordBytes]> {
    for (const id of this.#ids()) {
      const record = new RecordBytes(this.#rows.get(id) ?? Buffer.alloc(0))
      if (parseKeyId(id) !== undefined && record.valid) yield [id, record]
      else if (![undefined, 1].includes(this.#rows.get(id)?.[0])) this.foreign++
      else this.corrupt++
    }
  }

  ids ({ prefix, after, limit }: { prefix: string, after: string, limit: number }): string[] {
    return this.#ids().filter(id => id.startsWith(prefix) && id > after).slice(0, limit)
  }

  get count (): number { return this.#rows.size }

  unreadable (id: string): boolean {
    return this.#rows.has(id) && this.get(id) === undefined
  }

  async write (changes: ReadonlyMap<string, EntryRecord | null>): Promise<void> {
    const encoded = Array.from(changes, ([id, record]) => [id, record === null ? null : encodeRecord(record)] as const)
    await this.beforeWrite(Array.from(changes.keys()))
    for (const [id, bytes] of encoded) {
      if (bytes === null) this.#rows.delete(id)
      else this.#rows.set(id, bytes)
    }
    this.batches.push(Array.from(changes.keys()))
  }

  get (id: string): EntryRecord | undefined {
    const bytes = this.#rows.get(id)
    return bytes === undefined ? undefined : decodeRecord(bytes)
  }

  async close (): Promise<void> {}

  #ids (): string[] {
    return Array.from(this.#rows.keys()).sort((a, b) => a < b ? -1 : 1)
  }
}
