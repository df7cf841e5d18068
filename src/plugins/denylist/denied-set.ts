import { RelayError } from '../../base/errors.ts'
import { DigestSet } from './digest-set.ts'
import type { DeniedEntry } from './entry.ts'

/** Prefixes of one list: each length of one costs every lookup. */
export const MAX_PREFIXES = 10_000

/** What one list denies. */
export class DeniedSet {
  readonly #digests: DigestSet
  /** By length. */
  readonly #prefixes = new Map<number, Set<string>>()
  #prefixCount = 0

  /** @param expected entries for which there is room without growing */
  constructor (expected = 0) {
    this.#digests = new DigestSet(expected)
  }

  get size (): number { return this.#digests.size + this.#prefixCount }
  get prefixes (): number { return this.#prefixCount }
  /** Of the digests. */
  get bytes (): number { return this.#digests.bytes }

  /** @throws RelayError RELAY_ERR_BAD_REQUEST for one prefix more than {@link MAX_PREFIXES} */
  add (entry: DeniedEntry): void {
    if (entry.kind === 'digest') {
      this.#digests.add(entry.digest)
      return
    }
    const { prefix } = entry
    const same = this.#prefixes.get(prefix.length) ?? new Set()
    if (same.has(prefix)) return
    if (this.#prefixCount === MAX_PREFIXES) throw new RelayError('RELAY_ERR_BAD_REQUEST', `a denylist has at most ${MAX_PREFIXES} prefixes`)
    this.#prefixes.set(prefix.length, same.add(prefix))
    this.#prefixCount++
  }

  /** @param digest as of `cidDigest` */
  denies (cid: string, digest: Buffer): boolean {
    if (this.#digests.has(digest)) return true
    for (const [length, prefixes] of this.#prefixes) if (cid.length >= length && prefixes.has(cid.slice(0, length))) return true
    return false
  }
}
