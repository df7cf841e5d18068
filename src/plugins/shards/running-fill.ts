import type { AskedNodes } from '../upstream/upstream-types.ts'

/** What is known of a missing object once a super-node has answered. */
export interface FillHead {
  readonly size: number
  /** Lower-case hex; undefined while only the bytes themselves could tell. */
  readonly sha256: string | undefined
  /** Whether the body can end well only if something vouches for it, see {@link ObjectFacts.verified}. */
  readonly verified: boolean
  readonly node: string
  readonly region: string
  /** Time until the super-node's response head, ms. */
  readonly headMs: number
  /** How old it was when it was sent, ms. */
  readonly ageMs: number
  /** False for what may not be kept: nobody vouches that it is whole, or its origin does not want it. */
  readonly lasting: boolean
  /** Whether no super-node sent it: it is rebuilt from siblings. */
  readonly repaired: boolean
}

/** What a fill tells whoever fetches for it. */
export interface FillState {
  /** Kept up to date by the fetch until it has an answer. */
  readonly asked: AskedNodes
  readonly wanted: () => boolean
  /** SHA-256 of the bytes received so far, lower-case hex; undefined where blocks are verified one by one. */
  readonly soFar?: () => string
  /** Of a part: position up to which somebody waits for it. */
  readonly soon?: () => number
  /** Tells that no super-node delivers, and siblings are brought in to rebuild the object. */
  readonly repairs: () => void
}

/** A fill that began without anybody who waits for it. */
export interface QuietFill extends Pick<RunningFill, 'head' | 'finished' | 'complete'> {
  /** Ends it, unless somebody waits for it meanwhile. */
  giveUp (): void
}

/**
 * A missing object on its way into the cache, read by any number of viewers while it comes. It does not belong to the viewer who asked first: it
 * goes on when viewers leave.
 */
export interface RunningFill {
  /** Resolves when size and origin are known; rejects when no super-node delivers. */
  readonly head: Promise<FillHead>
  /** Resolves when the object is stored or given up; never rejects. */
  readonly finished: Promise<void>
  /** Super-nodes it waits for, until one has answered with the object. */
  readonly asked: AskedNodes
  /** Resolves when it waits for siblings, none of which may wait for it in turn; never for most. */
  readonly repairing: Promise<undefined>
  readonly readers: number
  /** `via` members of the request that caused it; they went upstream. */
  readonly via: readonly string[]
  /** Whether a super-node has answered with the object. */
  readonly answered: boolean
  /** Digest of the whole body; undefined until it is known to be the body that was to come. */
  readonly sha256: string | undefined
  /** Whether something vouches for the whole body; false until it has ended. */
  readonly verified: boolean
  /** Whether it failed because the object is not what its manifest says, and another super-node may have the right one. */
  readonly wrong: boolean
  /** Whether it ends because nobody waits for it: what came is being kept, and whoever wants the object looks again when it has {@link finished}. */
  readonly givenUp: boolean
  /** Whether what can be read is verified, and no byte need wait for the rest of the object. */
  readonly byBlocks: boolean
  /** File with the bytes that may be read from it, for a reader in another process; undefined when memory holds them. */
  readonly path: string | undefined
  /** Whether all of it is in {@link path}. */
  readonly whole: boolean
  /** Resolves when no super-node is waited for, or it has ended; never rejects. */
  answer (): Promise<void>
  /** Resolves when all of the object is here, and verified as far as it can be. @throws RelayError when the fill failed */
  complete (): Promise<void>
  /** The object is served to those who wait for it and not stored, because its key was purged. */
  forbidStore (): void
  /** A reader joins; it must call the returned function once. Undefined when the fill is over and its bytes are gone, it is {@link givenUp}, or its blocks turned out to be {@link wrong}. */
  join (): (() => void) | undefined
  /** Position up to which the bytes from `start` on may be read from {@link path} now. */
  readableInFile (start: number): number
  /**
   * Resolves when the byte at `position`, and all from `start` to it, may be read from {@link path}.
   * @param end where what is read ends, exclusive
   * @throws RelayError when the fill failed
   */
  moreInFile (position: number, start: number, end: number): Promise<void>
  /**
   * Bytes at `position`, at least one and at most `length`, as soon as they are there; for readers that joined and know the head.
   * @param end where the response ends, exclusive
   * @param into memory that they may be read into, instead of new memory
   * @throws RelayError when the fill failed
   */
  read (position: number, length: number, end?: number, into?: Buffer): Promise<Uint8Array>
}
