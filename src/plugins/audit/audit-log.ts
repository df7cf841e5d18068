import Type, { type Static } from 'typebox'
import { schemaCheck } from '../../base/schema-check.ts'

const orNull = <S extends Parameters<typeof Type.Array>[0]>(schema: S) => Type.Union([schema, Type.Null()])

/** Who did what. Secrets are in none of it. */
export const AuditRecordSchema = Type.Object({
  /** Milliseconds since the Unix epoch. */
  at: Type.Integer({ description: 'when, milliseconds since the epoch' }),
  by: orNull(Type.String({ maxLength: 64, description: 'name of the token' })),
  address: orNull(Type.String({ maxLength: 64, description: 'of whoever asked' })),
  id: orNull(Type.String({ maxLength: 128, description: 'x-request-id' })),
  action: Type.String({ maxLength: 64, description: 'operationId of the route; configChanged for a key that has another value since then, whatever was the reason' }),
  target: orNull(Type.String({ maxLength: 300, description: 'path of the request, or the key' })),
  status: orNull(Type.Integer({ description: 'of the answer; 4xx: nothing was done' })),
  asked: Type.Optional(Type.Unknown({ description: 'body of the request; left out where it is large' })),
  before: Type.Optional(Type.Unknown({ description: 'value of the key before' })),
  after: Type.Optional(Type.Unknown({ description: 'value of the key after, or the answer, where it is not large' }))
}, { additionalProperties: false })

export type AuditRecord = Static<typeof AuditRecordSchema>

const recordCheck = schemaCheck<AuditRecord>(AuditRecordSchema)

/** Records that the admin API tells, the latest. */
export const MAX_RECORDS = 1_000
/** What is kept of a body or an answer, characters of JSON. */
export const MAX_DETAIL = 2_048
/** Records that wait to be written. */
export const MAX_WAITING = 1_000

/** A value as it may stand in a record; undefined when it is too large. */
export function detail (value: unknown): unknown {
  const text = JSON.stringify(value) as string | undefined
  return text === undefined || text.length > MAX_DETAIL ? undefined : value
}

/** The records of a file that can be read, the latest {@link MAX_RECORDS}, the oldest first. */
export function parseRecords (text: string): AuditRecord[] {
  const isRecord = recordCheck()
  return text.split('\n').slice(-MAX_RECORDS - 1).flatMap(line => {
    try {
      const value: unknown = JSON.parse(line)
      return isRecord(value) ? [value] : []
    } catch {
      return []
    }
  })
}

export interface AuditLogOptions {
  /** Of earlier runs, the oldest first. */
  readonly records: readonly AuditRecord[]
  /** Adds lines to the file. */
  readonly append: (lines: string) => Promise<void>
  readonly added: () => void
  /** A record could not be written to the file. */
  readonly failed: (error: unknown, record: AuditRecord) => void
}

/** The latest records, and a file with all of them. Nobody waits for the file. */
export class AuditLog {
  readonly #options: AuditLogOptions
  readonly #records: AuditRecord[]
  #waiting: AuditRecord[] = []
  #writing: Promise<void> | undefined

  constructor (options: AuditLogOptions) {
    this.#options = options
    this.#records = options.records.slice(-MAX_RECORDS)
  }

  get waiting (): number { return this.#waiting.length }

  add (record: AuditRecord): void {
    this.#options.added()
    this.#records.push(record)
    if (this.#records.length > MAX_RECORDS) this.#records.shift()
    if (this.#waiting.length >= MAX_WAITING) return this.#options.failed(new Error('too many records wait to be written'), record)
    this.#waiting.push(record)
    this.#writing ??= this.#write().finally(() => { this.#writing = undefined })
  }

  /** The latest first, older than `before` if that is given. */
  latest ({ limit, action, by, before = Infinity }: { limit: number, action?: string | undefined, by?: string | undefined, before?: number | undefined }): AuditRecord[] {
    return this.#records.filter(record => record.at < before && (action === undefined || record.action === action) && (by === undefined || record.by === by)).slice(-limit).toReversed()
  }

  /** Resolves when all is written, or was tried. */
  async flush (): Promise<void> {
    await this.#writing
  }

  async #write (): Promise<void> {
    // All of one turn in one go.
    await Promise.resolve()
    while (this.#waiting.length > 0) {
      const records = this.#waiting
      this.#waiting = []
      try {
        await this.#options.append(records.map(record => `${JSON.stringify(record)}\n`).join(''))
      } catch (error) {
        for (const record of records) this.#options.failed(error, record)
      }
    }
  }
}
