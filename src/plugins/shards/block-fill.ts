import { Changes } from '../../base/changes.ts'
import { deferred } from '../../base/deferred.ts'
import { RelayError } from '../../base/errors.ts'
import { digestAt } from '../../base/digest-list.ts'
import { blockCount } from '../../protocol/manifest-blocks.ts'
import { WrongObjectError, type ExpectedBlocks } from '../integrity/integrity.ts'
import type { BlockSpool } from '../shard-cache/block-spool.ts'
import type { BlockTicket } from '../shard-cache/intake.ts'
import type { SuperNode } from '../upstream/super-node.ts'
import type { AskedNodes, UpstreamObject, WantedPart } from '../upstream/upstream-types.ts'
import { BlockReceiver } from './block-receiver.ts'
import { BlockRuns, type BlockRun } from './block-runs.ts'
import { FillHolds } from './fill-holds.ts'
import { OrderedHash } from './ordered-hash.ts'
import { RunFailures } from './run-failures.ts'
import type { FillHead, FillState, RunningFill } from './running-fill.ts'
import { verifyClaimed } from './verify-claimed.ts'
import { WrongBlocks } from './wrong-blocks.ts'

export interface BlockFillOptions {
  /** `via` members of the request that caused it. */
  readonly via: readonly string[]
  readonly expected: ExpectedBlocks
  /** Position of the byte that is asked for first, and where that ends which is asked for, exclusive. */
  readonly start: number
  readonly end: number
  /** Whether what nobody waits for is brought in too. */
  readonly completes: boolean
  readonly fetch: (signal: AbortSignal, state: FillState, part: WantedPart) => Promise<UpstreamObject>
  readonly createSpool: () => Promise<BlockTicket>
  /** Tells who sent something else than the manifest says. @throws WrongObjectError always */
  readonly blame: (nodes: readonly string[], received: string | undefined) => never
  /** Whether load permits that blocks which nobody waits for are fetched now. */
  readonly mayComplete: () => boolean
  /** The whole object was compared with its manifest. */
  readonly verified: () => void
  /** The whole object is not what its manifest says, and each of its blocks is. */
  readonly contradicted: () => void
  readonly doubted: (nodes: readonly string[]) => boolean
  /** Aborted when the relay stops or the fill exceeds its deadline; the reason is a RelayError. */
  readonly signal: AbortSignal
}

/** Times that a part is asked for again because what came was wrong; each time of other nodes. */
const MAX_LOOKS = 8

/** Blocks that are to come, in order. */
interface Want {
  readonly block: number
  /** Exclusive; the block itself when nobody waits. */
  readonly end: number
}

/**
 * One missing object whose blocks are known by their hashes, see {@link RunningFill}. It begins with the block that is asked for first, then brings in
 * the rest in order; a reader who wants blocks that are far off has them brought in beside. Every block can be read as soon as it is verified,
 * and one that is wrong is asked for elsewhere: readers never see it. What has to be rebuilt from siblings is brought in as far as readers want it.
 */
export class BlockFill implements RunningFill {
  readonly head: Promise<FillHead>
  readonly finished: Promise<void>
  readonly repairing: Promise<undefined>
  readonly byBlocks = true
  readonly #options: BlockFillOptions
  readonly #head = deferred<FillHead>()
  readonly #repairing = deferred<undefined>()
  readonly #runs: BlockRuns
  /** Each request under way, with the nodes it waits for. */
  readonly #running = new Map<Promise<void>, AskedNodes>()
  readonly #ending = new AbortController()
  readonly #hash = new OrderedHash()
  #ticket: BlockTicket | undefined
  readonly #holds = new FillHolds(() => this.#ticket?.spool.close())
  readonly #failures = new RunFailures()
  readonly #wrongBlocks = new WrongBlocks()
  #error: RelayError | undefined
  #sha256: string | undefined
  #forbidden = false
  /** Whether nothing is brought in but what readers wait for. */
  #onDemand: boolean
  #wrong = false
  /** Of what was oldest. */
  #ageMs = 0
  #givenUp = false
  readonly #progress = new Changes()

  constructor (options: BlockFillOptions) {
    const { size, blockSize } = options.expected
    this.#options = options
    this.#onDemand = !options.completes
    this.#runs = new BlockRuns(blockCount(size, blockSize))
    this.head = this.#head.promise
    this.repairing = this.#repairing.promise
    // A fill goes on without viewers, and then nobody is there to hear that it failed.
    this.head.catch(() => {})
    this.finished = this.#fill()
  }

  get readers (): number { return this.#holds.readers }
  get via (): readonly string[] { return this.#options.via }
  get asked (): AskedNodes { return new Set([...this.#running.values()].flatMap(nodes => [...nodes])) }
  get answered (): boolean { return this.#ticket !== undefined && this.asked.size === 0 }
  get sha256 (): string | undefined { return this.#sha256 }
  get wrong (): boolean { return this.#wrong }
  get givenUp (): boolean { return this.#givenUp }
  get verified (): boolean { return this.#sha256 !== undefined }
  get path (): string | undefined { return this.#ticket?.path() }
  get whole (): boolean { return this.#sha256 !== undefined && this.readableInFile(0) === this.#options.expected.size }

  async answer (): Promise<void> {
    while (!this.answered && this.#error === undefined) await this.#progress.next()
  }

  async complete (): Promise<void> {
    await this.#until(() => this.#sha256 !== undefined, ({ here }) => this.#onDemand ? { block: here.firstMissing(0), end: here.size } : undefined)
  }

  forbidStore (): void {
    this.#forbidden = true
    this.#ticket?.forbidStore()
  }

  join (): (() => void) | undefined {
    const leave = this.#givenUp || this.#wrong ? undefined : this.#holds.join()
    if (leave === undefined) return undefined
    return () => {
      leave()
      this.#progress.tell()
    }
  }

  readableInFile (start: number): number {
    return this.#ticket?.spool.readableFrom(start, true) ?? start
  }

  async moreInFile (position: number, start: number, end: number): Promise<void> {
    await this.#until(() => this.readableInFile(start) > position, ({ here, blockSize }) => {
      const block = here.firstMissing(this.#blockAt(start))
      // What is here already is waited for until it is in the file.
      return block * blockSize > position ? undefined : { block, end: this.#blocksTo(end) }
    })
  }

  async read (position: number, length: number, end = this.#options.expected.size, into?: Buffer): Promise<Uint8Array> {
    const block = this.#blockAt(position)
    for (;;) {
      await this.#until(() => this.#ticket?.spool.here.has(block) === true, () => ({ block, end: this.#blocksTo(end) }))
      const spool = this.#ticket?.spool
      if (spool === undefined) throw new Error('read without join')
      const bytes = await this.#holds.during(async () => await spool.read(position, length, into))
      // None of a block that the disk has refused since.
      if (bytes.length > 0) return bytes
    }
  }

  #blockAt (position: number): number {
    return Math.floor(position / this.#options.expected.blockSize)
  }

  #blocksTo (end: number): number {
    return Math.ceil(end / this.#options.expected.blockSize)
  }

  /** @param wants what has to come for it */
  async #until (reached: () => boolean, wants: (spool: BlockSpool) => Want | undefined): Promise<void> {
    while (!reached()) {
      if (this.#error !== undefined) throw this.#error
      const spool = this.#ticket?.spool
      const want = spool === undefined ? undefined : wants(spool)
      if (spool !== undefined && want !== undefined) this.#want(spool, { ...want, end: Math.max(want.end, want.block + 1) })
      await this.#progress.next()
    }
  }

  #want (spool: BlockSpool, { block, end }: Want): void {
    const run = this.#runs.want(block, spool.taken(), end, this.#onDemand ? end : undefined)
    if (run !== undefined && !this.#ending.signal.aborted) this.#start(spool, run)
  }

  async #fill (): Promise<void> {
    const { signal, createSpool, start, end } = this.#options
    const stop = (): void => { this.#ending.abort(signal.reason) }
    signal.addEventListener('abort', stop, { once: true })
    try {
      const ticket = this.#ticket = await createSpool()
      const { spool } = ticket
      if (this.#forbidden) ticket.forbidStore()
      spool.watch(() => { this.#progress.tell() })
      signal.throwIfAborted()
      const first = { block: this.#blockAt(start), end: this.#blocksTo(end) }
      // What an earlier fill has left is verified while the rest is on its way.
      this.#want(spool, first)
      await verifyClaimed(spool, this.#options.expected.hashes, first.block, this.#ending.signal, (block, bytes) => {
        if (bytes !== undefined) this.#hash.add(block, [bytes])
        if (bytes !== undefined && block === first.block) this.#resolveHead({ node: '', region: 'cache', headMs: 0, storable: true })
        this.#progress.tell()
      })
      await this.#bringIn(spool)
      this.#sha256 = await this.#wholeDigest(spool)
      this.#options.verified()
      this.#progress.tell()
      await ticket.commit(this.#sha256, true, this.#ageMs)
      // What the disk refused at the very end, when no memory was free for it, is brought in again for those who read.
      if (this.#holds.readers > 0) await this.#bringIn(spool)
      if (!spool.here.full) throw new RelayError('RELAY_ERR_CACHE_READ', 'the disk has refused a block that nobody waited for')
    } catch (error) {
      this.#error = error instanceof RelayError ? error : new RelayError('RELAY_ERR_INTERNAL', 'the fill failed', { cause: error })
      if (this.#wrongBlocks.count > 0 && this.#error.source === 'upstream') this.#wrong ||= this.#options.doubted(this.#wrongBlocks.nodes)
      this.#head.reject(this.#error)
      this.#progress.tell()
    } finally {
      signal.removeEventListener('abort', stop)
      this.#ending.abort(this.#error)
      await Promise.all(this.#running.keys())
      if (this.#ticket?.spool.here.full === false) await this.#ticket.keep()
      await this.#holds.letGo()
    }
  }

  /** Sees to it that something is under way until every block is here. @throws RelayError when the fill failed */
  async #bringIn (spool: BlockSpool): Promise<void> {
    while (!spool.here.full) {
      if (this.#ending.signal.aborted) throw this.#ending.signal.reason
      if (this.#runs.idle) {
        this.#givenUp = this.#holds.readers === 0 && (this.#onDemand || !this.#options.mayComplete())
        if (this.#givenUp) throw new RelayError('RELAY_ERR_OVERLOADED', 'nobody waits for the rest of the object')
        const block = this.#runs.rest(spool.here)
        if (!this.#onDemand) this.#want(spool, { block, end: block })
      }
      await this.#progress.next()
    }
  }

  #start (spool: BlockSpool, run: BlockRun): void {
    const asked: AskedNodes = new Set<SuperNode>()
    const running = this.#receive(spool, run, asked).catch((error: unknown) => {
      // Others may bring what it was to bring; whoever waits for that asks again.
      if (run.soon <= run.first && !this.#wrongBlocks.agreed) this.#onDemand = true
      else if (this.#failures.failed() || this.#wrongBlocks.agreed || this.#running.size === 1) this.#ending.abort(error)
    }).finally(() => {
      this.#runs.end(run)
      this.#running.delete(running)
      this.#progress.tell()
    })
    this.#running.set(running, asked)
  }

  async #receive (spool: BlockSpool, run: BlockRun, asked: AskedNodes): Promise<void> {
    const { signal } = this.#ending
    for (let look = 1; ; look++) {
      try {
        await this.#receiveOnce(spool, run, asked)
        return
      } catch (error) {
        // Whatever came after all that was wanted does no harm.
        if (run.next >= run.end) return
        if (!(error instanceof WrongObjectError) || look === MAX_LOOKS || this.#wrongBlocks.agreed || signal.aborted) throw error
      }
    }
  }

  async #receiveOnce (spool: BlockSpool, run: BlockRun, asked: AskedNodes): Promise<void> {
    const { fetch, blame, expected: { size, sha256, blockSize, hashes } } = this.#options
    const { signal } = this.#ending
    const from = run.next * blockSize
    let to = Math.min(size, run.end * blockSize)
    const state = { asked, wanted: () => this.#holds.readers > 0, soon: () => Math.min(size, run.soon * blockSize), repairs: () => { this.#repairing.resolve(undefined) } }
    const object = await fetch(signal, state, { from, to, size, sha256 })
    const { offset = 0 } = object
    const receiver = new BlockReceiver(spool, offset / blockSize, signal)
    // A body is read to its end, so that its connection can be used again, unless another run brings the rest.
    const enough = (): boolean => run.next >= run.end && run.end * blockSize < to
    try {
      if ((object.size !== undefined && object.size !== size) || (object.sha256 !== undefined && object.sha256 !== sha256)) blame(object.senders, object.sha256)
      this.#resolveHead(object)
      if (object.repaired === true) {
        this.#onDemand = true
        this.#runs.stopsSoon(run)
        to = Math.min(size, run.end * blockSize)
      }
      for await (const chunk of object.body) {
        for (const { block, digest, pieces, put } of receiver.take(chunk)) {
          if (!digest.equals(digestAt(hashes, block))) blame(object.senders, this.#wrongBlocks.add(block, object.senders, digest))
          this.#hash.add(block, pieces)
          if (!object.storable) this.forbidStore()
          this.#ageMs = Math.max(this.#ageMs, object.ageMs ?? 0)
          await put()
          run.next = block + 1
          this.#failures.progress()
          this.#progress.tell()
          if (enough()) break
        }
        if (enough() || receiver.over) break
        await receiver.ready()
      }
      if (run.next < run.end) throw new RelayError('RELAY_ERR_UPSTREAM_BODY', `super-node ${object.node} sent fewer bytes than were asked for`)
    } catch (error) {
      const known = object.failed(error)
      throw error instanceof WrongObjectError ? error : known
    } finally {
      receiver.end()
      object.body.destroy()
    }
  }

  /** @throws RelayError when the manifest contradicts itself, or the disk fails */
  async #wholeDigest (spool: BlockSpool): Promise<string> {
    const digest = await this.#hash.finish(spool)
    if (digest === this.#options.expected.sha256) return digest
    this.#wrong = true
    this.#options.contradicted()
    throw new RelayError('RELAY_ERR_UPSTREAM_CORRUPT', 'the manifest contradicts itself: its blocks are not those of the shard it names')
  }

  #resolveHead ({ node, region, headMs, ageMs = 0, storable, repaired = false }: Pick<UpstreamObject, 'node' | 'region' | 'headMs' | 'ageMs' | 'storable' | 'repaired'>): void {
    const { size, sha256 } = this.#options.expected
    this.#head.resolve({ size, sha256, verified: true, node, region, headMs, ageMs, lasting: storable, repaired })
    this.#progress.tell()
  }
}
