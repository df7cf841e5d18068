import { LRUCache } from 'lru-cache'
import type { ClaimFault } from './jwt-claims.ts'
import type { JwtVerifier } from './jwt-verifier.ts'
import type { ViewerGrant } from './verdict.ts'

/** Verified tokens remembered: the sessions of a full relay (`transport.max_sessions`), each with its own. */
const MAX_REMEMBERED = 10_000
/** Their claims together, bytes: 10,000 tokens of 1.6 KiB. */
const MAX_REMEMBERED_BYTES = 16 * 1024 * 1024
/** Counted for an entry besides its claims, bytes. */
const ENTRY_BYTES = 256
/** Signatures being checked at the same time: they share the thread pool with the reads of the disk, 0.1 to 0.4 ms each. */
export const MAX_CHECKING = 64

/** Neither a grant nor a refusal: too many signatures are being checked. */
export const BUSY = Symbol('busy')

export type JwtOutcome = ViewerGrant | ClaimFault | typeof BUSY

/**
 * Remembers what verified tokens grant, so that a token costs one signature check and not one for each request. Only genuine tokens are
 * remembered: what strangers make up must not push them out.
 */
export class JwtJudge {
  readonly #verifier: Pick<JwtVerifier, 'verify'>
  readonly #known = new LRUCache<string, ViewerGrant>({ max: MAX_REMEMBERED, maxSize: MAX_REMEMBERED_BYTES })
  readonly #checking = new Map<string, Promise<ViewerGrant | ClaimFault>>()

  /** @param verifier checks signatures */
  constructor (verifier: Pick<JwtVerifier, 'verify'>) {
    this.#verifier = verifier
  }

  /** Tokens remembered and signatures being checked. */
  sizes (): { readonly known: number, readonly knownBytes: number, readonly checking: number } {
    return { known: this.#known.size, knownBytes: this.#known.calculatedSize, checking: this.#checking.size }
  }

  /** @param hash of the token; requests with the same token share one check */
  look (token: string, hash: string): JwtOutcome | Promise<JwtOutcome> {
    const known = this.#known.get(hash)
    if (known !== undefined) return known
    const running = this.#checking.get(hash)
    if (running !== undefined) return running
    if (this.#checking.size >= MAX_CHECKING) return BUSY
    const checking = this.#check(token, hash)
    this.#checking.set(hash, checking)
    return checking
  }

  async #check (token: string, hash: string): Promise<ViewerGrant | ClaimFault> {
    try {
      const outcome = await this.#verifier.verify(token)
      if (typeof outcome !== 'string') this.#known.set(hash, outcome, { size: ENTRY_BYTES + token.length })
      return outcome
    } finally {
      this.#checking.delete(hash)
    }
  }
}
