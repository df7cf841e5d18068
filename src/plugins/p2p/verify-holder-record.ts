import { HolderRecordError, parseHolderRecord, type HolderFault, type HolderRecord } from '../../protocol/holder-record.ts'
import { MAX_AHEAD_MS, publisherOf, type PublisherKeys } from '../integrity/publisher-signature.ts'

/** What a record must be to be believed. */
export interface HolderPolicy {
  /** At least one. */
  readonly publishers: PublisherKeys
  /** Oldest that is taken, ms. */
  readonly maxAgeMs: number
}

function refuse (fault: HolderFault, detail: string): never {
  throw new HolderRecordError(fault, detail)
}

/**
 * Checks everything about the bytes of a record.
 * @param now wall clock, ms
 * @throws HolderRecordError
 */
export function verifyHolderRecord (bytes: Uint8Array, cid: string, { publishers, maxAgeMs }: HolderPolicy, now: number): HolderRecord {
  const { record, signedText } = parseHolderRecord(bytes, cid)
  const { issuedAt, expiresAt = Infinity, signature } = record
  // Without publishers a signature would prove nothing.
  if (publisherOf(signature, signedText, publishers, 'the record', refuse) === undefined) refuse('publisher', 'nobody is in trust.publishers')
  if (now - issuedAt > maxAgeMs) refuse('stale', 'the record is too old')
  if (issuedAt - now > MAX_AHEAD_MS) refuse('stale', 'the record was made in the future')
  if (expiresAt <= now) refuse('stale', 'the record has expired')
  return record
}

/** The newest of several records of a CID that are believed; 0 when none is. */
export function newestRecord (records: readonly Uint8Array[], verify: (bytes: Uint8Array) => Pick<HolderRecord, 'issuedAt'>): number {
  let best = 0
  let newest = -1
  for (const [position, bytes] of records.entries()) {
    try {
      const { issuedAt } = verify(bytes)
      if (issuedAt > newest) [best, newest] = [position, issuedAt]
    } catch (error) {
      if (!(error instanceof HolderRecordError)) throw error
    }
  }
  return best
}
