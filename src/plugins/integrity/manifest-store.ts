import { LRUCache } from 'lru-cache'
import type { Clock, Timers } from '../../base/clock.ts'
import { deferred } from '../../base/deferred.ts'
import { ManifestError, type ManifestFault } from '../../protocol/manifest.ts'
import type { BlockHashes } from '../../protocol/manifest-blocks.ts'
import type { AskEachOptions, NodeText } from '../upstream/each-node.ts'
import { freshnessOf, type Lifetime } from '../../protocol/freshness.ts'
import type { KeptManifest } from './kept-manifest.ts'
import { judgeClaims, type Belief, type Claim } from './manifest-trust.ts'
import { verifyManifest, type ManifestPolicy } from './verify-manifest.ts'

/** What is kept of a manifest: some 1.5 kB, and the hashes of blocks. */
export interface ManifestFacts {
  /** Who it came from. */
  readonly node: string
  /** Of its bytes, lower-case hex. */
  readonly digest: string
  /** Of its bytes. */
  readonly size: number
  /** Of the tree over its shards; the same for every manifest of the same shards. */
  readonly merkleRoot: string
  /** Bytes of a shard. */
  readonly shardSize: number
  /** SHA-256 of each shard, lower-case hex. */
  readonly shards: readonly string[]
  /** CIDs of what is watched after it. */
  readonly next: readonly string[]
  /** Groups it belongs to. */
  readonly tags: readonly string[]
  /** Of each shard; undefined when the manifest has none. */
  readonly blocks: readonly BlockHashes[] | undefined
}

/** What is known of the manifest of a CID. */
export type Finding =
  /** `at`: when super-nodes had it, monotonic ms. */
  | { readonly state: 'believed', readonly facts: ManifestFacts, readonly by: 'publisher' | 'quorum', readonly at: number }
  /** `claims`: what single nodes say. */
  | { readonly state: 'unsure' | 'conflict', readonly claims: readonly ManifestFacts[] }

/** A believed manifest as it came. */
export interface BelievedText {
  readonly bytes: Buffer
  /** SHA-256 of those, lower-case hex. */
  readonly digest: string
  /** Who had the same, each once. */
  readonly witnesses: readonly string[]
  readonly by: 'publisher' | 'quorum'
}

export interface StoreObserver {
  found (cid: string, outcome: Finding['state'] | 'busy'): void
  refused (node: string, cid: string, fault: ManifestFault, detail: string): void
}

export interface ManifestStoreOptions {
  /** Asks super-nodes for the manifest of a CID, each once. */
  readonly ask: (cid: string, options: AskEachOptions) => Promise<void>
  /** Bytes of a manifest in the cache that was believed when it was stored, which may have been before a restart; undefined when there is none. Must not reject. */
  readonly kept: (cid: string) => Promise<KeptManifest | undefined>
  /** How long the manifest of a CID is believed, and for how much longer when nobody can be asked; for ever by default. */
  readonly lifetimeOf?: (cid: string) => Lifetime | undefined
  readonly policy: ManifestPolicy
  /** Witnesses that must agree where there are no publishers. */
  readonly quorum: number
  /** Time until nodes must have answered, ms; the last byte of a fill waits so long at most. */
  readonly timeoutMs: number
  readonly clock: Clock
  readonly timers: Timers
  readonly observer: StoreObserver
  /** Told of every manifest that is believed from now on. */
  readonly believed: (cid: string, facts: ManifestFacts) => void
  /** Told of every manifest that super-nodes have made believed, to be kept over restarts; must not throw. */
  readonly keep?: ((cid: string, manifest: BelievedText) => void) | undefined
  /** Told of CIDs that were purged. */
  readonly forgotten?: ((matches: (cid: string) => boolean) => void) | undefined
  /** Who of those who are witnesses today vouched for a manifest that was kept, without publishers. @param sha256 of its bytes, lower-case hex */
  readonly vouched: (cid: string, sha256: string) => readonly string[]
}

/** Believed manifests in memory: about 6 MB, 10 with full lists of what is next, without the hashes of blocks, of which there may be {@link MAX_BLOCK_BYTES}. */
export const MAX_MANIFESTS = 4_096
/** Hashes of blocks in memory, bytes: those of 128 GiB of shards in blocks of 64 KiB. */
export const MAX_BLOCK_BYTES = 64 * 1024 * 1024
/** Those of one video, bytes; where there are more, its shards are not verified by blocks. */
const MAX_VIDEO_BLOCK_BYTES = 4 * 1024 * 1024
/** CIDs of which nothing is believed, kept for {@link UNSURE_MS}; each with up to {@link MAX_CLAIMS} claims. */
export const MAX_UNSURE = 512
/** Questions under way at the same time; an object whose manifest cannot be asked for is unverified. */
export const MAX_QUESTIONS = 256
/** Time after which nodes are asked again for a manifest that nobody believed, ms. */
export const UNSURE_MS = 10_000
/** Who a manifest of the cache comes from. */
export const OWN_NODE = 'cache'
/** Manifests remembered whose hashes of blocks are wrong, by their digests. */
export const MAX_CONTRADICTIONS = 4_096
/** Nodes whose manifest is looked at for one CID. */
export const MAX_CLAIMS = 8

/** The manifests of CIDs: each is asked for once, whoever needs it, and kept. */
export class ManifestStore {
  readonly #options: ManifestStoreOptions
  readonly #believed = new LRUCache<string, Extract<Finding, { state: 'believed' }>>({
    max: MAX_MANIFESTS,
    maxSize: MAX_BLOCK_BYTES,
    // What has no blocks counts too, and hardly.
    sizeCalculation: ({ facts: { blocks = [] } }) => 1 + bytesOf(blocks)
  })

  /** Digests of manifests whose hashes of blocks are not used, however often they are found. */
  readonly #contradictions = new LRUCache<string, true>({ max: MAX_CONTRADICTIONS })
  readonly #unsure = new LRUCache<string, { readonly finding: Finding, readonly until: number }>({ max: MAX_UNSURE })
  /** What is found is kept only while its question is here. */
  readonly #asking = new Map<string, Promise<Finding>>()
  readonly #ending = new AbortController()

  constructor (options: ManifestStoreOptions) {
    this.#options = options
  }

  /** Believed manifests in memory. */
  get size (): number { return this.#believed.size }
  /** Questions under way. */
  get asking (): number { return this.#asking.size }

  /** The manifest, if it is believed already, and fresh. @param maxAgeMs how long ago super-nodes may have had it */
  known (cid: string, maxAgeMs = Infinity): Extract<Finding, { state: 'believed' }> | undefined {
    const last = this.#believed.get(cid)
    return last !== undefined && this.#age(last) < Math.min(maxAgeMs, this.#options.lifetimeOf?.(cid)?.ttlMs ?? Infinity) ? last : undefined
  }

  /** The manifest that was believed last, fresh or not: for guesses. */
  last (cid: string): ManifestFacts | undefined {
    return this.#believed.get(cid)?.facts
  }

  /**
   * What the super-nodes say, within the time they have; joins a question that is under way. When none of them says anything, what was believed before, as long as
   * its rule allows. Never rejects.
   * @param via members of the request that needs it
   * @param maxAgeMs how long ago they may have said it
   */
  async find (cid: string, via: readonly string[], maxAgeMs = Infinity): Promise<Finding> {
    const known = this.known(cid, maxAgeMs) ?? this.#recent(cid)
    if (known !== undefined) return known
    const under = this.#asking.get(cid)
    if (under !== undefined) return await under
    if (this.#asking.size >= MAX_QUESTIONS || this.#ending.signal.aborted) {
      this.#options.observer.found(cid, 'busy')
      return { state: 'unsure', claims: [] }
    }
    const question: Promise<Finding> = this.#ask(cid, via, maxAgeMs).then(({ finding, isNews, text }) => {
      if (this.#asking.get(cid) !== question) return finding
      this.#keep(cid, finding, isNews)
      if (text !== undefined) this.#options.keep?.(cid, text)
      return finding
    }).finally(() => { if (this.#asking.get(cid) === question) this.#asking.delete(cid) })
    this.#asking.set(cid, question)
    return await question
  }

  /** Forgets what is known of these CIDs, because they were purged, and keeps nothing of what is being asked. */
  forget (matches: (cid: string) => boolean): void {
    this.#options.forgotten?.(matches)
    for (const table of [this.#believed, this.#unsure, this.#asking]) {
      for (const cid of [...table.keys()]) if (matches(cid)) table.delete(cid)
    }
  }

  /** What is known of a CID, without the hashes of blocks, also when the same manifest is found again. */
  dropBlocks (cid: string): void {
    const known = this.#believed.get(cid)
    if (known === undefined) return
    this.#contradictions.set(known.facts.digest, true)
    this.#believed.set(cid, withoutBlocks(known))
  }

  /** Ends every question. */
  close (): void {
    this.#ending.abort()
  }

  #age ({ at }: { at: number }): number {
    return Math.max(0, this.#options.clock.monotonic() - at)
  }

  #recent (cid: string): Finding | undefined {
    const unsure = this.#unsure.get(cid)
    return unsure !== undefined && this.#options.clock.monotonic() < unsure.until ? unsure.finding : undefined
  }

  async #ask (cid: string, via: readonly string[], maxAgeMs: number): Promise<{ readonly finding: Finding, readonly isNews: boolean, readonly text: BelievedText | undefined }> {
    const { ask, policy, quorum, timeoutMs, timers, observer } = this.#options
    const now = this.#options.clock.monotonic()
    const lifetime = this.#options.lifetimeOf?.(cid)
    const claims: Claim[] = []
    const texts = new Map<string, Buffer>()
    let belief: Belief = judgeClaims(claims, quorum)
    const take = (answer: NodeText): boolean => {
      const claim = this.#check(cid, answer)
      if (claim === undefined) return false
      claims.push(claim)
      texts.set(claim.digest, answer.bytes)
      belief = judgeClaims(claims, quorum)
      return belief.state === 'believed' || claims.length === MAX_CLAIMS
    }
    const abort = new AbortController()
    const over = deferred<undefined>()
    const end = (): void => {
      abort.abort()
      over.resolve(undefined)
    }
    const cancel = timers.after(timeoutMs, end)
    this.#ending.signal.addEventListener('abort', end, { once: true })
    // With publishers one good answer is enough; without, one node more than the quorum needs is asked, lest one be slow.
    const parallel = policy.publishers.size > 0 ? 1 : quorum + 1
    let at = now
    let last: Finding | undefined = this.#believed.get(cid)
    const asked = async (): Promise<void> => {
      const own = await this.#ownClaim(cid)
      if (own !== undefined && this.#age(own) < Math.min(maxAgeMs, lifetime?.ttlMs ?? Infinity)) {
        belief = own.belief
        at = own.at
        return
      }
      if (own !== undefined) last ??= findingOf(own.belief, own.at)
      await ask(cid, { via, signal: abort.signal, parallel, maxBytes: policy.maxBytes, take })
    }
    await Promise.race([asked().catch(() => {}), over.promise])
    cancel()
    this.#ending.signal.removeEventListener('abort', end)
    const found = findingOf(belief, at)
    observer.found(cid, found.state)
    // Whoever says something else has a reason; silence is none to forget what was believed.
    const lasts = found.state === 'unsure' && claims.length === 0 && last?.state === 'believed' && (lifetime === undefined || freshnessOf(last.at, lifetime, now).ifError)
    return lasts && last !== undefined ? { finding: last, isNews: false, text: undefined } : { finding: found, isNews: true, text: textOf(belief, claims, texts) }
  }

  #keep (cid: string, finding: Finding, isNews: boolean): void {
    const { clock, believed } = this.#options
    if (finding.state === 'believed' && isNews) {
      this.#believed.set(cid, this.#contradictions.get(finding.facts.digest) === true ? withoutBlocks(finding) : finding)
      this.#unsure.delete(cid)
      believed(cid, finding.facts)
    } else {
      this.#unsure.set(cid, { finding, until: clock.monotonic() + UNSURE_MS })
    }
  }

  /** The cache's. What a publisher has to have signed, or must not be older, is checked as ever; without publishers, whether enough of today's witnesses vouched for it. */
  async #ownClaim (cid: string): Promise<{ readonly belief: Extract<Belief, { state: 'believed' }>, readonly at: number } | undefined> {
    const { kept, clock, vouched, policy, quorum } = this.#options
    const own = await kept(cid)
    const claim = own === undefined ? undefined : this.#check(cid, { node: OWN_NODE, witness: '', bytes: own.bytes })
    if (own === undefined || claim === undefined || (policy.publishers.size === 0 && vouched(cid, claim.digest).length < quorum)) return undefined
    return { belief: { state: 'believed', claim, by: claim.publisher === undefined ? 'quorum' : 'publisher' }, at: clock.monotonic() - Math.max(0, clock.now() - own.storedAt) }
  }

  #check (cid: string, { node, witness, bytes }: NodeText): Claim | undefined {
    const { policy, clock, observer } = this.#options
    try {
      return { node, witness, ...verifyManifest(bytes, cid, policy, clock.now()) }
    } catch (error) {
      if (!(error instanceof ManifestError)) throw error
      observer.refused(node, cid, error.fault, error.message)
      return undefined
    }
  }
}

const withoutBlocks = (finding: Extract<Finding, { state: 'believed' }>): Extract<Finding, { state: 'believed' }> => ({ ...finding, facts: { ...finding.facts, blocks: undefined } })

const bytesOf = (blocks: readonly BlockHashes[]): number => blocks.reduce((sum, { hashes }) => sum + hashes.length, 0)

/** What is to be kept of a belief; nothing of one that was kept already. */
function textOf (belief: Belief, claims: readonly Claim[], texts: ReadonlyMap<string, Buffer>): BelievedText | undefined {
  const digest = belief.state === 'believed' ? belief.claim.digest : ''
  const bytes = texts.get(digest)
  if (belief.state !== 'believed' || bytes === undefined) return undefined
  return { bytes, digest, witnesses: [...new Set(claims.filter(claim => claim.digest === digest).map(({ witness }) => witness))], by: belief.by }
}

function factsOf ({ node, digest, size, manifest, blocks = [] }: Claim): ManifestFacts {
  const kept = blocks.length > 0 && bytesOf(blocks) <= MAX_VIDEO_BLOCK_BYTES ? blocks : undefined
  return { node, digest, size, blocks: kept, merkleRoot: manifest.merkleRoot, shardSize: manifest.shardSize, next: manifest.next, tags: manifest.tags, shards: manifest.shards.map(shard => shard.sha256) }
}

function findingOf (belief: Belief, at: number): Finding {
  if (belief.state === 'believed') return { state: 'believed', facts: factsOf(belief.claim), by: belief.by, at }
  return { state: belief.state, claims: belief.claims.map(factsOf) }
}
