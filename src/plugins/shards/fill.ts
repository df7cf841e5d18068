import { createHash } from 'node:crypto'
import { Changes } from '../../base/changes.ts'
import { deferred } from '../../base/deferred.ts'
import { RelayError } from '../../base/errors.ts'
import { WrongObjectError, type Attestation } from '../integrity/integrity.ts'
import type { StoreTicket } from '../shard-cache/intake.ts'
import type { Spool } from '../shard-cache/spool.ts'
import type { AskedNodes, UpstreamObject } from '../upstream/upstream-types.ts'
import { FillHolds } from './fill-holds.ts'
import type { FillHead, FillState, RunningFill } from './running-fill.ts'

export interface FillOptions {
  /** `via` members of the request that caused it. */
  readonly via: readonly string[]
  readonly maxObjectBytes: number
  readonly fetch: (signal: AbortSignal, state: FillState) => Promise<UpstreamObject>
  /** @param grows the body may end long before `capacity` */
  readonly createSpool: (capacity: number, grows: boolean) => Promise<StoreTicket>
  /** Whether the body must match the digest that its sender announces; by default it must. */
  readonly checksDigest?: boolean
  /** Begins to compare the object with its manifest, once the object is asked for; without it, what its sender says is enough. */
  readonly attest?: (() => Attestation) | undefined
  /** Aborted when the relay stops or the fill exceeds its deadline; the reason is a RelayError. */
  readonly signal: AbortSignal
}

/**
 * One missing object on its way from a super-node into the cache, read by any number of viewers at their own pace while it
 * arrives. It does not belong to the viewer who asked first: it goes on when viewers leave. The last byte is withheld until
 * length, digest and manifest are compared, so a body that turns out bad can never look complete.
 */
export class Fill implements RunningFill {
  readonly head: Promise<FillHead>
  readonly finished: Promise<void>
  readonly asked: AskedNodes = new Set()
  readonly repairing: Promise<undefined>
  /** Its blocks are not known, or were not when it began. */
  readonly byBlocks = false
  readonly givenUp = false
  readonly #options: FillOptions
  readonly #head = deferred<FillHead>()
  readonly #repairing = deferred<undefined>()
  readonly #hash = createHash('sha256')
  #attestation: Attestation | undefined
  #ticket: StoreTicket | undefined
  readonly #holds = new FillHolds(() => this.#ticket?.spool.close())
  #readable = 0
  #error: RelayError | undefined
  #sha256: string | undefined
  #verified = false
  #wrong = false
  /** Whether the head says that the body will be verified. */
  #promised = false
  #forbidden = false
  #answered = false
  readonly #progress = new Changes()

  constructor (options: FillOptions) {
    this.#options = options
    this.head = this.#head.promise
    this.repairing = this.#repairing.promise
    // A fill goes on without viewers, and then nobody is there to hear that it failed.
    this.head.catch(() => {})
    this.finished = this.#run()
  }

  /** Bytes that may be read now. */
  get readable (): number { return this.#readable }
  get path (): string | undefined { return this.#ticket?.path() }
  get whole (): boolean { return this.#sha256 !== undefined && this.readableInFile() === this.#ticket?.spool.length }
  get readers (): number { return this.#holds.readers }
  get via (): readonly string[] { return this.#options.via }
  get answered (): boolean { return this.#answered }
  get sha256 (): string | undefined { return this.#sha256 }
  get verified (): boolean { return this.#verified }
  get wrong (): boolean { return this.#wrong }

  async answer (): Promise<void> {
    await this.#head.promise.catch(() => {})
  }

  async complete (): Promise<void> {
    await this.#until(() => this.#sha256 !== undefined)
  }

  forbidStore (): void {
    this.#forbidden = true
    this.#ticket?.forbidStore()
  }

  join (): (() => void) | undefined {
    return this.#holds.join()
  }

  /** Resolves when more than `position` bytes may be read. @throws RelayError when the fill failed */
  async more (position: number): Promise<void> {
    await this.#until(() => this.#readable > position)
  }

  /** The disk may be a little behind {@link readable}. */
  readableInFile (): number {
    return Math.min(this.#readable, this.#ticket?.spool.written ?? 0)
  }

  async moreInFile (position: number): Promise<void> {
    await this.#until(() => this.readableInFile() > position)
  }

  /**
   * Bytes at `position`, at least one and at most `length`, as soon as they are there; for readers that joined and know the head.
   * @param end where the response ends, exclusive: its last byte waits for the verdict like that of the whole body
   * @param into memory that they may be read into, instead of new memory
   * @throws RelayError when the fill failed
   */
  async read (position: number, length: number, end = Infinity, into?: Buffer): Promise<Uint8Array> {
    await this.more(position)
    if (position === end - 1) await this.complete()
    const spool = this.#ticket?.spool
    if (spool === undefined) throw new Error('read without join')
    return await this.#holds.during(async () => {
      const readable = this.#sha256 === undefined && position < end ? Math.min(this.#readable, end - 1) : this.#readable
      return await spool.read(position, Math.min(length, readable - position), into)
    })
  }

  async #until (reached: () => boolean): Promise<void> {
    // Of wrong bytes nobody gets any more.
    if (this.#wrong && this.#error !== undefined) throw this.#error
    while (!reached()) {
      if (this.#error !== undefined) throw this.#error
      await this.#progress.next()
    }
  }

  async #run (): Promise<void> {
    const { signal, maxObjectBytes, attest } = this.#options
    let object: UpstreamObject | undefined
    try {
      const fetching = this.#options.fetch(signal, { asked: this.asked, wanted: () => this.#holds.readers > 0, soFar: () => this.#hash.copy().digest('hex'), repairs: () => { this.#repairing.resolve(undefined) } })
      const attestation = this.#attestation = attest?.()
      object = await fetching
      this.#answered = true
      if (object.size !== undefined && object.size > maxObjectBytes) {
        throw new RelayError('RELAY_ERR_UPSTREAM_TOO_LARGE', `super-node ${object.node} announced ${object.size} bytes, the cap is ${maxObjectBytes}`)
      }
      attestation?.head(object.senders, object.size, object.sha256)
      const ticket = await this.#options.createSpool(object.size ?? maxObjectBytes, object.size === undefined)
      if (this.#forbidden) ticket.forbidStore()
      this.#ticket = ticket
      ticket.spool.watch(() => { this.#progress.tell() })
      const digest = await this.#receive(object, ticket)
      this.#verified = await this.#attest(object, ticket, digest)
      this.#sha256 = digest
      this.#readable = ticket.spool.length
      if (!object.storable) ticket.forbidStore()
      this.#announce(object, ticket.spool.length, digest, this.#verified)
      this.#progress.tell()
      await ticket.commit(digest, attestation !== undefined && this.#verified, object.ageMs)
    } catch (error) {
      object?.body.destroy()
      this.#wrong = error instanceof WrongObjectError
      const known = object?.failed(error) ?? (error instanceof RelayError ? error : new RelayError('RELAY_ERR_INTERNAL', 'the fill failed', { cause: error }))
      this.#error = known
      this.#head.reject(known)
      this.#progress.tell()
    } finally {
      await this.#holds.letGo()
    }
  }

  async #receive (object: UpstreamObject, ticket: StoreTicket): Promise<string> {
    const { spool } = ticket
    const { signal, maxObjectBytes, checksDigest = true } = this.#options
    const announced = checksDigest ? object.sha256 : undefined
    if (object.size !== undefined && object.size > 0) {
      const expected = this.#attestation?.expected
      this.#promised = expected !== undefined
      this.#announce(object, object.size, expected?.sha256 ?? announced, this.#attestation === undefined || this.#promised)
    }
    const hash512 = object.sha512 === undefined ? undefined : createHash('sha512')
    for await (const chunk of object.body) {
      if (spool.length + chunk.length > (object.size ?? maxObjectBytes)) {
        throw new RelayError('RELAY_ERR_UPSTREAM_TOO_LARGE', `super-node ${object.node} sent more than ${object.size ?? maxObjectBytes} bytes`)
      }
      this.#hash.update(chunk)
      hash512?.update(chunk)
      await spool.append(chunk, signal)
      // Without an announced size nobody reads yet, and any byte may be the last.
      this.#readable = object.size === undefined ? Math.max(0, spool.length - 1) : Math.min(spool.length, object.size - 1)
      this.#progress.tell()
    }
    if (signal.aborted) throw signal.reason
    if (object.size !== undefined && spool.length !== object.size) {
      throw new RelayError('RELAY_ERR_UPSTREAM_BODY', `super-node ${object.node} sent ${spool.length} of ${object.size} bytes`)
    }
    if (spool.length === 0) throw new RelayError('RELAY_ERR_UPSTREAM_BODY', `super-node ${object.node} sent an empty body`)
    const digest = this.#hash.copy().digest('hex')
    if (checksDigest && ((announced !== undefined && digest !== announced) || hash512?.digest('hex') !== object.sha512)) {
      await this.#blame(object, ticket, digest)
      throw new RelayError('RELAY_ERR_UPSTREAM_CORRUPT', `super-node ${object.node} sent bytes that do not match its digest`)
    }
    return digest
  }

  /** Bytes that are not what their sender announced are most often not what the manifest says either: then another node may have the right ones. @throws WrongObjectError */
  async #blame (object: UpstreamObject, ticket: StoreTicket, sha256: string): Promise<void> {
    if (object.repaired === true) return
    await this.#attest(object, ticket, sha256).catch((error: unknown) => {
      if (error instanceof WrongObjectError) throw error
    })
  }

  /** Waits for what the manifest says of the body. @returns whether something vouches for it */
  async #attest ({ senders }: UpstreamObject, ticket: StoreTicket, sha256: string): Promise<boolean> {
    const { signal } = this.#options
    const attestation = this.#attestation
    if (attestation === undefined) return true
    const { spool } = ticket
    const verdict = await attestation.judge({ nodes: senders, size: spool.length, sha256, bytes: async () => await readWhole(spool) })
    if (signal.aborted) throw signal.reason
    // Heads went out that promise it; what was believed then may be forgotten since.
    if (this.#promised && verdict !== 'verified') throw new RelayError('RELAY_ERR_UNVERIFIED', 'the manifest of the object was withdrawn while it came')
    if (verdict === 'disputed') ticket.forbidStore()
    return verdict === 'verified'
  }

  #announce (object: UpstreamObject, size: number, sha256: string | undefined, verified: boolean): void {
    this.#head.resolve({ size, sha256, verified, node: object.node, region: object.region, headMs: object.headMs, ageMs: object.ageMs ?? 0, lasting: object.storable, repaired: object.repaired === true })
  }
}

/** All bytes of a body that has ended. */
async function readWhole (spool: Spool): Promise<Buffer> {
  const pieces: Uint8Array[] = []
  for (let at = 0; at < spool.length;) {
    const piece = await spool.read(at, spool.length - at)
    if (piece.length === 0) throw new RelayError('RELAY_ERR_INTERNAL', 'the body is shorter than it was')
    pieces.push(piece)
    at += piece.length
  }
  return Buffer.concat(pieces)
}
