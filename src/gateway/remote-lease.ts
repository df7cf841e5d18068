import type { Origin } from '../protocol/answer.ts'
import { Changes } from '../base/changes.ts'
import { RelayError } from '../base/errors.ts'
import type { LeaseInfo, Refusal, ToGateway } from '../channel/to-gateway.ts'
import type { RangeSpec } from '../protocol/range.ts'
import { BlockReader } from '../storage/block-reader.ts'
import type { OpenFile } from '../storage/disk-files.ts'
import type { RamObject } from '../storage/ram-tier.ts'
import type { ShardLease } from './session/shard-source.ts'

/** What the relay has told of an object it holds for us. */
export class HeldLease {
  readonly info: LeaseInfo
  readable: number
  #refusal: Refusal | undefined
  #revoked: Refusal | undefined
  readonly #changes = new Changes()

  constructor (info: LeaseInfo) {
    this.info = info
    this.readable = info.file?.readable ?? 0
  }

  grew (readable: number): void {
    this.readable = readable
    this.#changes.tell()
  }

  broke (refusal: Refusal): void {
    this.#refusal = refusal
    this.#changes.tell()
  }

  revoke (refusal: Refusal): void {
    this.#revoked = refusal
    this.#changes.tell()
  }

  /** @throws RelayError once nothing more of it may be served */
  throwIfRevoked (): void {
    if (this.#revoked !== undefined) throw new RelayError(this.#revoked.code, this.#revoked.detail)
  }

  /** Waits until the growing file holds bytes at `position`. @throws RelayError when it never will; the signal's reason */
  async more (position: number, signal: AbortSignal): Promise<void> {
    while (this.readable <= position) {
      this.throwIfRevoked()
      if (this.#refusal !== undefined) throw new RelayError(this.#refusal.code, this.#refusal.detail)
      signal.throwIfAborted()
      await this.#changes.next(signal)
    }
  }
}

/** What a lease needs of the source it comes from. */
export interface LeaseHome {
  openFile (path: string): Promise<OpenFile | undefined>
  closeFile (handle: OpenFile): void
  readRemote (lease: number, position: number, length: number, end: number, signal: AbortSignal): Promise<Extract<ToGateway, { type: 'bytes' }>>
  release (lease: number, object: RamObject | undefined): void
}

/** An object of the relay read from memory, from its file, or, while neither can be had, through the relay. */
export class RemoteLease implements ShardLease {
  readonly size: number
  readonly sha256: string | undefined
  readonly verified: boolean
  readonly lasting: boolean
  readonly lifetime: ShardLease['lifetime']
  readonly origin: Origin
  readonly body = { read: async (position: number, maxBytes: number) => await this.#read(position, maxBytes) }
  readonly #home: LeaseHome
  readonly #held: HeldLease
  readonly #object: RamObject | undefined
  readonly #signal: AbortSignal
  /** Where the range that was asked for ends, exclusive. */
  readonly #end: number
  #handle: OpenFile | undefined
  /** Verifies what is read of {@link #handle}, where the relay asks for that. */
  #blocks: BlockReader | undefined
  /** File to read; undefined when the relay has to be asked. */
  #path: string | undefined
  /** File that could not be read here and is not tried again. */
  #unreadable: string | undefined

  constructor (home: LeaseHome, held: HeldLease, object: RamObject | undefined, range: RangeSpec | undefined, signal: AbortSignal) {
    const { size, sha256, verified, lasting, lifetime, origin, file } = held.info
    this.size = size
    this.sha256 = sha256
    this.verified = verified
    this.lasting = lasting
    this.lifetime = lifetime
    this.origin = origin
    this.#home = home
    this.#held = held
    this.#object = object
    this.#signal = signal
    this.#end = range?.kind === 'from' && range.last !== undefined ? Math.min(range.last + 1, size) : size
    this.#path = file?.path
  }

  get readable (): number { return this.#held.readable }

  release (): void {
    this.#close()
    this.#home.release(this.#held.info.lease, this.#object)
  }

  async #read (position: number, maxBytes: number): Promise<Uint8Array> {
    this.#held.throwIfRevoked()
    const bytes = await this.#bytes(position, maxBytes)
    this.#held.throwIfRevoked()
    return bytes
  }

  async #bytes (position: number, maxBytes: number): Promise<Uint8Array> {
    if (this.#object !== undefined) return this.#object.buffer.subarray(position, position + maxBytes)
    if (this.#path !== undefined) {
      await this.#held.more(position, this.#signal)
      // A range may end long before the object, and must not end well before the object is verified, with which its last byte comes.
      if (position === this.#end - 1 && this.#held.info.file?.byBlocks !== true) await this.#held.more(this.size - 1, this.#signal)
      const chunk = await this.#readFile(this.#path, position, maxBytes)
      if (chunk !== undefined) return chunk
      this.#unreadable = this.#path
      this.#path = undefined
      this.#close()
    }
    // The relay meets the same error, drops the entry and goes on from a super-node.
    const { chunk, file } = await this.#home.readRemote(this.#held.info.lease, position, maxBytes, this.#end, this.#signal)
    if (file !== undefined && file !== this.#unreadable) {
      // A fill has been stored under its final name since it was resolved.
      this.#path = file
      this.#held.grew(this.size)
    }
    return chunk
  }

  async #readFile (path: string, position: number, maxBytes: number): Promise<Uint8Array | undefined> {
    try {
      this.#handle ??= await this.#home.openFile(path)
      if (this.#handle === undefined) return undefined
      const { path: verifiable, blocks } = this.#held.info.file ?? {}
      if (blocks !== undefined && path === verifiable) return await this.#verified(this.#handle, blocks).read(position, maxBytes)
      const { readable, info: { file } } = this.#held
      const most = readable < this.size && position < this.#end && file?.byBlocks !== true ? Math.min(readable, this.#end - 1) : readable
      const buffer = Buffer.allocUnsafeSlow(Math.min(maxBytes, most - position))
      const { bytesRead } = await this.#handle.read(buffer, 0, buffer.length, position)
      return bytesRead === 0 ? undefined : buffer.subarray(0, bytesRead)
    } catch {
      return undefined
    }
  }

  #verified (handle: OpenFile, blocks: Uint8Array): BlockReader {
    this.#blocks ??= new BlockReader(this.size, blocks, async (into, offset, length, at) => (await handle.read(into, offset, length, at)).bytesRead)
    return this.#blocks
  }

  #close (): void {
    if (this.#handle !== undefined) this.#home.closeFile(this.#handle)
    this.#handle = undefined
  }
}
