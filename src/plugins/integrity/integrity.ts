import { LRUCache } from 'lru-cache'
import type { Clock } from '../../base/clock.ts'
import { digestAt } from '../../base/digest-list.ts'
import { RelayError } from '../../base/errors.ts'
import { ManifestError } from '../../protocol/manifest.ts'
import type { BlockHashes } from '../../protocol/manifest-blocks.ts'
import { keyId, type ShardKey } from '../../protocol/shard-key.ts'
import { BlockDoubts } from './block-doubts.ts'
import type { EvidenceBook } from './evidence.ts'
import type { Finding, ManifestFacts, ManifestStore } from './manifest-store.ts'
import type { Quarantine } from './quarantine.ts'
import { sha256, verifyManifest, type ManifestPolicy } from './verify-manifest.ts'

/** Size and digest that a believed manifest gives an object. */
export interface ExpectedObject {
  /** Bytes. */
  readonly size: number
  /** Lower-case hex. */
  readonly sha256: string
}

/** A shard that can be verified block by block. */
export interface ExpectedBlocks extends ExpectedObject, BlockHashes {}

/** An object as it came. */
export interface ReceivedObject {
  /** Everyone who sent part of it. */
  readonly nodes: readonly string[]
  readonly size: number
  /** Lower-case hex. */
  readonly sha256: string
  /** The bytes themselves; asked for only of a manifest that is not the believed one, and of a shard whose hashes of blocks are in doubt. */
  readonly bytes: () => Promise<Uint8Array>
}

/** What an object that may be served is: `disputed` when super-nodes contradict each other, and then it is not stored. */
export type ObjectVerdict = 'verified' | 'unverified' | 'disputed'

/** The object is not what its manifest says; another super-node may have the right one. */
export class WrongObjectError extends RelayError {
  constructor (detail: string) {
    super('RELAY_ERR_UPSTREAM_CORRUPT', detail)
  }
}

/** The check of one object, begun beside its body. */
export interface Attestation {
  /** What a shard must be; undefined while no manifest is believed. */
  readonly expected: ExpectedObject | undefined
  /** Looks at what a head announces. @throws WrongObjectError when that is not what is expected */
  head (nodes: readonly string[], size: number | undefined, sha256: string | undefined): void
  /**
   * Waits for the manifest and compares.
   * @throws WrongObjectError; RelayError RELAY_ERR_UNVERIFIED when nothing vouches for it and that is refused
   */
  judge (received: ReceivedObject): Promise<ObjectVerdict>
}

export interface IntegrityObserver {
  checked (outcome: ObjectVerdict | 'wrong'): void
  settled (outcome: 'verified' | 'evicted'): void
}

export interface IntegrityOptions {
  readonly store: ManifestStore
  readonly policy: ManifestPolicy
  readonly unverified: 'serve' | 'refuse'
  readonly evidence: EvidenceBook
  readonly quarantine: Quarantine
  readonly clock: Clock
  readonly observer: IntegrityObserver
  /** The cache's part: compares what it holds of a CID that was not verified with its manifest, and says what became of each. */
  readonly settle: (cid: string, expected: (key: ShardKey) => ExpectedObject) => Iterable<'verified' | 'evicted'>
  readonly log: (level: 'info' | 'warn', message: string, fields: Record<string, unknown>) => void
}

/** Time after which hits on unverified objects ask for the manifest of their CID again, ms: where there is none, hits must not become questions. */
export const ASK_AGAIN_MS = 600_000
/** CIDs of unverified hits remembered; beyond, the one that was not used longest may ask too early. */
const MAX_ASKED = 10_000

/** Whether objects are what the manifest of their CID says. */
export class Integrity {
  readonly #options: IntegrityOptions
  /** CID to the monotonic ms from which a hit asks again. */
  readonly #askAgain = new LRUCache<string, number>({ max: MAX_ASKED })
  readonly #doubts = new BlockDoubts()

  constructor (options: IntegrityOptions) {
    this.#options = options
  }

  /** Begins to check an object that is being fetched. @param via members of the request that needs it */
  begin (key: ShardKey, via: readonly string[]): Attestation {
    const { store } = this.#options
    const asked = store.find(key.cid, via)
    const expected = (): ExpectedObject | undefined => {
      // Of manifests with the same shards a publisher may have signed several.
      const known = key.part === 'manifest' ? undefined : store.known(key.cid)
      return known === undefined ? undefined : expectedOf(key, known.facts)
    }
    return {
      get expected () { return expected() },
      head: (nodes, size, sha256) => {
        const known = store.known(key.cid)
        if (known === undefined || key.part === 'manifest') return
        const right = expectedOf(key, known.facts)
        if ((size !== undefined && size !== right.size) || (sha256 !== undefined && sha256 !== right.sha256)) this.#wrong(key, nodes, sha256, known)
      },
      judge: async received => await this.#judge(key, await asked, received)
    }
  }

  /** What a believed manifest says of an object, once super-nodes had time to send one; undefined when none is believed. @param via members of the request that needs it */
  async expects (key: ShardKey, via: readonly string[]): Promise<ExpectedObject | undefined> {
    const found = await this.#options.store.find(key.cid, via)
    const finding = this.#options.store.known(key.cid) ?? found
    return finding.state === 'believed' ? expectedOf(key, finding.facts) : undefined
  }

  /**
   * As {@link expects}, by a manifest that super-nodes had not longer ago than that.
   * @param maxAgeMs ms
   * @returns how long ago they had it, ms
   */
  async expectsSince (key: ShardKey, via: readonly string[], maxAgeMs: number): Promise<ExpectedObject & { readonly ageMs: number } | undefined> {
    const { store, clock } = this.#options
    const found = await store.find(key.cid, via, maxAgeMs)
    const finding = store.known(key.cid, maxAgeMs) ?? found
    if (finding.state !== 'believed') return undefined
    const ageMs = Math.max(0, clock.monotonic() - finding.at)
    return ageMs < maxAgeMs ? { ...expectedOf(key, finding.facts), ageMs } : undefined
  }

  /** What a shard must be, block by block; undefined where no manifest with blocks is believed, or they are in doubt. */
  blocksOf (key: ShardKey): ExpectedBlocks | undefined {
    if (key.part === 'manifest' || this.#isDoubted(key)) return undefined
    const facts = this.#options.store.known(key.cid)?.facts
    const blocks = facts?.blocks?.[key.part]
    return facts === undefined || blocks === undefined ? undefined : { ...expectedOf(key, facts), ...blocks }
  }

  /** CIDs of what is watched after a video, as its manifest says; none where no manifest is believed. */
  nextCids (cid: string): readonly string[] {
    return this.#options.store.last(cid)?.next ?? []
  }

  /** Tags of a video, as its manifest says; none where no manifest is believed. */
  tagsOf (cid: string): readonly string[] {
    return this.#options.store.last(cid)?.tags ?? []
  }

  /** Bytes of an object as its manifest says; undefined where none is believed. */
  sizeOf (key: ShardKey): number | undefined {
    const last = this.#options.store.last(key.cid)
    return last === undefined ? undefined : expectedOf(key, last).size
  }

  /**
   * A node sent something that is not what the manifest says.
   * @param received SHA-256 of it, lower-case hex; undefined when its length was wrong already
   * @throws WrongObjectError always
   */
  blame (key: ShardKey, nodes: readonly string[], received: string | undefined): never {
    const known = this.#options.store.known(key.cid)
    if (known === undefined) throw new WrongObjectError(`super-node ${nodes.join(', ')} sent an object that is not what its manifest said`)
    return this.#wrong(key, nodes, received, known)
  }

  /** The hashes of blocks that a manifest gives a shard are not those of the shard it names: from now on the shard is verified as a whole. */
  distrustBlocks (key: ShardKey): void {
    const { store, log } = this.#options
    const known = store.known(key.cid)
    if (known?.facts.blocks === undefined) return
    store.dropBlocks(key.cid)
    log('warn', 'manifest contradicts itself: the hashes of blocks are not those of the shard it names, and are not used any more', { key: keyId(key), node: known.facts.node, by: known.by })
  }

  /**
   * Nobody sends blocks of a shard that are what the manifest says, or several send the same others: from now on it is verified as a whole, which tells
   * who is right.
   * @param nodes who sent them, and may be asked again
   * @returns false when that was done a short while ago, and the manifest was right
   */
  doubtBlocks (key: ShardKey, nodes: readonly string[]): boolean {
    const { quarantine, clock, log } = this.#options
    if (!this.#doubts.raise(keyId(key), clock.monotonic())) return false
    quarantine.lift(nodes, key)
    log('warn', 'no super-node has blocks that are what the manifest says: the shard is verified as a whole', { key: keyId(key), nodes })
    return true
  }

  /** A whole object was compared with its manifest, by whoever keeps its blocks. */
  verified (): void {
    this.#options.observer.checked('verified')
  }

  /** Whether a node is not asked for an object at present. */
  avoids (node: string, key: ShardKey): boolean {
    return this.#options.quarantine.has(node, key, this.#options.clock.monotonic())
  }

  /** An object of the cache that was never verified is used: its manifest is asked for, beside. */
  used (key: ShardKey): void {
    const { store, clock } = this.#options
    const known = store.known(key.cid)
    if (known !== undefined) {
      this.settle(key.cid, known.facts)
      return
    }
    const now = clock.monotonic()
    if (now < (this.#askAgain.get(key.cid) ?? -Infinity)) return
    this.#askAgain.set(key.cid, now + ASK_AGAIN_MS)
    void store.find(key.cid, [])
  }

  /** Objects were purged: what is known of a CID is forgotten with its manifest. @param matches ids of keys */
  forget (matches: (id: string) => boolean): void {
    this.#options.store.forget(cid => matches(keyId({ cid, part: 'manifest' })))
  }

  /** A manifest is believed: what the cache holds of its CID is verified now, or goes. */
  settle (cid: string, facts: ManifestFacts): void {
    for (const outcome of this.#options.settle(cid, key => expectedOf(key, facts))) {
      this.#options.observer.settled(outcome)
      if (outcome === 'evicted') this.#options.log('warn', 'cached object is not what its manifest says and goes', { cid })
    }
  }

  async #judge (key: ShardKey, found: Finding, received: ReceivedObject): Promise<ObjectVerdict> {
    const { observer } = this.#options
    // A purge may have forgotten it, or another question found it meanwhile.
    const finding = this.#options.store.known(key.cid) ?? found
    if (finding.state !== 'believed') return this.#withoutManifest(key, finding, received)
    const right = expectedOf(key, finding.facts)
    if (received.size !== right.size || received.sha256 !== right.sha256) {
      if (key.part !== 'manifest' || !await this.#isAnotherSigned(key.cid, finding.facts, received)) this.#wrong(key, received.nodes, received.sha256, finding)
    }
    if (this.#isDoubted(key)) await this.#settleDoubt(key, finding.facts, received)
    observer.checked('verified')
    return 'verified'
  }

  #isDoubted (key: ShardKey): boolean {
    return this.#doubts.size > 0 && this.#doubts.has(keyId(key), this.#options.clock.monotonic())
  }

  /** The shard is what the manifest says: whether its blocks are too. */
  async #settleDoubt (key: ShardKey, { blocks }: ManifestFacts, { bytes }: ReceivedObject): Promise<void> {
    const { clock, evidence } = this.#options
    const list = key.part === 'manifest' ? undefined : blocks?.[key.part]
    this.#doubts.dispel(keyId(key), clock.monotonic())
    if (list === undefined || areBlocksOf(await bytes(), list)) return
    this.distrustBlocks(key)
    // Who sent what contradicts the one list had what the other says.
    evidence.forgive(keyId(key))
  }

  #withoutManifest (key: ShardKey, { state, claims }: Extract<Finding, { state: 'unsure' | 'conflict' }>, received: ReceivedObject): ObjectVerdict {
    const { observer, unverified, log } = this.#options
    const others = claims.filter(facts => expectedOf(key, facts).sha256 !== received.sha256)
    const disputed = state === 'conflict' || others.length > 0
    if (disputed) {
      log('warn', 'super-nodes contradict each other and no manifest is believed: nothing is stored', {
        key: keyId(key), nodes: received.nodes, received: received.sha256, claims: claims.map(facts => ({ node: facts.node, sha256: expectedOf(key, facts).sha256 }))
      })
    }
    const outcome = disputed ? 'disputed' : 'unverified'
    observer.checked(outcome)
    if (unverified === 'refuse') throw new RelayError('RELAY_ERR_UNVERIFIED', disputed ? 'super-nodes contradict each other' : 'no manifest of the object is believed')
    return outcome
  }

  /** Whether a manifest that is not the believed one, byte for byte, is a publisher's all the same and lists the same shards. */
  async #isAnotherSigned (cid: string, facts: ManifestFacts, { bytes }: ReceivedObject): Promise<boolean> {
    const { policy, clock } = this.#options
    try {
      const { publisher, manifest } = verifyManifest(await bytes(), cid, policy, clock.now())
      return publisher !== undefined && manifest.merkleRoot === facts.merkleRoot && manifest.shardSize === facts.shardSize
    } catch (error) {
      if (error instanceof ManifestError) return false
      throw error
    }
  }

  #wrong (key: ShardKey, nodes: readonly string[], received: string | undefined, { facts, by }: Extract<Finding, { state: 'believed' }>): never {
    const { evidence, quarantine, observer, clock, log } = this.#options
    const expected = expectedOf(key, facts).sha256
    quarantine.add(nodes, key, clock.monotonic())
    evidence.add({ nodes, key, expected, received, by, at: clock.now() })
    observer.checked('wrong')
    log('warn', 'super-node sent an object that is not what its manifest says', { key: keyId(key), nodes, expected, received, by })
    throw new WrongObjectError(`super-node ${nodes.join(', ')} sent an object that is not what its manifest says`)
  }
}

function areBlocksOf (bytes: Uint8Array, { blockSize, hashes }: BlockHashes): boolean {
  for (let block = 0; block * blockSize < bytes.length; block++) {
    if (!sha256(bytes.subarray(block * blockSize, (block + 1) * blockSize)).equals(digestAt(hashes, block))) return false
  }
  return true
}

function expectedOf ({ part }: ShardKey, { digest, size, shardSize, shards }: ManifestFacts): ExpectedObject {
  return part === 'manifest' ? { size, sha256: digest } : { size: shardSize, sha256: shards[part] ?? '' }
}
