import { createHash } from 'node:crypto'
import { LRUCache } from 'lru-cache'
import { deferred, type Deferred } from '../base/deferred.ts'
import { RelayError } from '../base/errors.ts'
import { diskThreads, POOL_THREADS } from '../base/thread-pool.ts'
import type { FromGateway } from '../channel/from-gateway.ts'
import type { LeaseInfo, ToGateway } from '../channel/to-gateway.ts'
import { keyId, type ShardKey } from '../protocol/shard-key.ts'
import { CHUNK_BYTES, systemFiles, type FileSystem, type OpenFile } from '../storage/disk-files.ts'
import { DiskQueue } from '../storage/disk-queue.ts'
import { guardedFiles } from '../storage/guarded-files.ts'
import { RamTier, type RamObject } from '../storage/ram-tier.ts'
import { HeldLease, RemoteLease } from './remote-lease.ts'
import type { ResolveOptions, ShardLease, ShardSource } from './session/shard-source.ts'

/** Questions to the relay under way at the same time, over all sessions: the channel has no back-pressure of its own. */
const MAX_OUTSTANDING = 8_192
/** Keys remembered to tell a second request from a first. */
const SEEN_KEYS = 10_000
/** Files copied to memory at the same time; further candidates wait for their next request. */
const MAX_LOADS = 2

type BytesMessage = Extract<ToGateway, { type: 'bytes' }>

/** Objects as the relay resolves them: it names the file, and the bytes are read here. */
export class RemoteSource implements ShardSource {
  readonly #send: (message: FromGateway) => void
  readonly #resolving = new Map<number, Deferred<HeldLease>>()
  readonly #reading = new Map<number, Deferred<BytesMessage>>()
  readonly #leases = new Map<number, HeldLease>()
  readonly #ram: RamTier
  readonly #queue: DiskQueue
  readonly #files: FileSystem
  readonly #seen = new LRUCache<string, true>({ max: SEEN_KEYS })
  /** Whether objects are copied to memory; not while the relay is overloaded. */
  loadsAllowed = true
  #loads = 0
  #openFiles = 0
  #next = 0

  /** @param ioTimeoutMs time the disk has to open or read; then the relay is asked */
  constructor (send: (message: FromGateway) => void, ramBytes: number, ioTimeoutMs: number, files: FileSystem = systemFiles) {
    this.#send = send
    this.#queue = new DiskQueue({ width: diskThreads(POOL_THREADS), timeoutMs: ioTimeoutMs })
    this.#files = guardedFiles(files, this.#queue)
    this.#ram = new RamTier({ maxBytes: ramBytes, onRemoved: () => {} })
  }

  sizes (): Record<string, number> {
    return {
      'source.resolving': this.#resolving.size,
      'source.reading': this.#reading.size,
      'source.leases': this.#leases.size,
      'source.openFiles': this.#openFiles,
      'source.lateReads': this.#queue.late,
      'source.ramBytes': this.#ram.usedBytes,
      'source.seenKeys': this.#seen.size
    }
  }

  /** Takes a message of the relay that belongs here; false when it does not. */
  take (message: ToGateway): boolean {
    switch (message.type) {
      case 'resolved': this.#resolved(message.id, message.info); return true
      case 'rejected': {
        const { code, detail, retryAfterSeconds } = message.refusal
        const question = this.#resolving.get(message.id) ?? this.#reading.get(message.id)
        this.#resolving.delete(message.id)
        this.#reading.delete(message.id)
        question?.reject(new RelayError(code, detail, { retryAfterSeconds }))
        return true
      }
      case 'bytes': {
        const question = this.#reading.get(message.id)
        this.#reading.delete(message.id)
        question?.resolve(message)
        return true
      }
      case 'progress':
        for (const [lease, readable] of message.leases) this.#leases.get(lease)?.grew(readable)
        return true
      case 'broken': this.#leases.get(message.lease)?.broke(message.refusal); return true
      case 'revoked': this.#leases.get(message.lease)?.revoke(message.refusal); return true
      case 'start': case 'update': case 'spent': case 'list': case 'disconnect': case 'stop': return false
    }
  }

  /** @param address of the viewer */
  async resolve (key: ShardKey, { range, trace, next = [], signal }: ResolveOptions, address = ''): Promise<ShardLease> {
    const held = await this.#ask(this.#resolving, id => ({ type: 'resolve', id, key, address, ...trace === undefined ? {} : { request: trace.trace === undefined ? { id: trace.id } : { id: trace.id, trace: trace.trace } }, ...range === undefined ? {} : { range }, ...next.length === 0 ? {} : { next: [...next] } }), signal)
    return new RemoteLease(this, held, this.#fromMemory(key, held.info), range, signal)
  }

  async readRemote (lease: number, position: number, length: number, end: number, signal: AbortSignal): Promise<BytesMessage> {
    return await this.#ask(this.#reading, id => ({ type: 'read', id, lease, position, length, end }), signal)
  }

  /** @returns undefined when the file cannot be opened here; the relay reads it then, or finds out why not */
  async openFile (path: string): Promise<OpenFile | undefined> {
    try {
      const handle = await this.#files.open(path, 'r')
      this.#openFiles++
      return handle
    } catch {
      return undefined
    }
  }

  closeFile (handle: OpenFile): void {
    void handle.close().catch(() => {}).finally(() => { this.#openFiles-- })
  }

  release (lease: number, object: RamObject | undefined): void {
    if (object !== undefined) this.#ram.release(object)
    this.#leases.delete(lease)
    this.#send({ type: 'release', lease })
  }

  /** Kept from this moment on: progress may follow in the same turn, before whoever asked goes on. */
  #resolved (id: number, info: LeaseInfo): void {
    const question = this.#resolving.get(id)
    this.#resolving.delete(id)
    if (question === undefined) {
      // The viewer has gone meanwhile.
      this.#send({ type: 'release', lease: info.lease })
      return
    }
    const held = new HeldLease(info)
    this.#leases.set(info.lease, held)
    question.resolve(held)
  }

  /** Memory is asked by key and digest, so an object that was purged and stored anew is never served from an old copy. */
  #fromMemory (key: ShardKey, info: LeaseInfo): RamObject | undefined {
    const { file, sha256, size } = info
    if (sha256 === undefined || file?.whole !== true) return undefined
    const id = `${keyId(key)} ${sha256}`
    const object = this.#ram.lease(id, sha256)
    if (object !== undefined) return object
    if (this.#seen.get(id) === undefined) this.#seen.set(id, true)
    else if (this.loadsAllowed && this.#loads < MAX_LOADS) this.#load(id, size, file.path, sha256)
    return undefined
  }

  #load (id: string, size: number, path: string, sha256: string): void {
    this.#loads++
    this.#ram.load({ id, size, sha256 }, async into => await this.#readVerified(path, into, sha256)).catch(() => {}).finally(() => { this.#loads-- })
  }

  /** The digest is checked on the way, so that memory never multiplies a damaged file. */
  async #readVerified (path: string, into: Buffer, sha256: string): Promise<boolean> {
    const handle = await this.openFile(path)
    if (handle === undefined) return false
    try {
      const hash = createHash('sha256')
      for (let done = 0; done < into.length;) {
        const { bytesRead } = await handle.read(into, done, Math.min(CHUNK_BYTES, into.length - done), done)
        if (bytesRead === 0) return false
        hash.update(into.subarray(done, done + bytesRead))
        done += bytesRead
      }
      return hash.digest('hex') === sha256
    } finally {
      this.closeFile(handle)
    }
  }

  async #ask<T> (asked: Map<number, Deferred<T>>, question: (id: number) => FromGateway, signal: AbortSignal): Promise<T> {
    if (this.#resolving.size + this.#reading.size >= MAX_OUTSTANDING) throw new RelayError('RELAY_ERR_FILLS_BUSY', 'too many requests wait for the relay')
    if (signal.aborted) throw viewerGone()
    const id = this.#next++
    const answer = deferred<T>()
    asked.set(id, answer)
    const abandon = (): void => {
      if (!asked.delete(id)) return
      this.#send({ type: 'cancel', id })
      answer.reject(viewerGone())
    }
    signal.addEventListener('abort', abandon, { once: true })
    this.#send(question(id))
    try {
      return await answer.promise
    } finally {
      signal.removeEventListener('abort', abandon)
    }
  }
}

function viewerGone (): RelayError {
  return new RelayError('RELAY_ERR_INTERNAL', 'the viewer is gone')
}
