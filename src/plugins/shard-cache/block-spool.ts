import { Changes } from '../../base/changes.ts'
import { RelayError } from '../../base/errors.ts'
import { blockCount } from '../../protocol/manifest-blocks.ts'
import { readFully } from '../../storage/block-reader.ts'
import { MAX_READ_BYTES, type MeasuredDisk } from '../../storage/disk-files.ts'
import { BlockSet } from './block-set.ts'
import type { BodySpool, SpoolFile } from './body-spool.ts'
import type { MemoryBudget, MemoryGrant } from './memory-budget.ts'
import { copyTo, pieceAt } from './pieces.ts'
import type { WindowBudget } from './write-window.ts'

export interface BlockSpoolOptions {
  /** Of the object, bytes. */
  readonly size: number
  /** Bytes of every block but the last. */
  readonly blockSize: number
  readonly disk: MeasuredDisk
  /** For blocks that the disk does not take. */
  readonly memory: MemoryBudget
  /** For blocks that are being received, or that the disk has not taken yet. */
  readonly windows: WindowBudget
  /** Absent when the object cannot be stored: it then passes through memory. */
  readonly file: SpoolFile | undefined
  /** Blocks that are in that file, as somebody says. */
  readonly claimed?: BlockSet | undefined
  /** Asked when the disk refuses: whether so many bytes may fit now. */
  readonly makeRoom: (error: unknown, bytes: number) => Promise<boolean>
  /** Told once, when the disk refuses in the middle. */
  readonly onDiskError: (error: unknown) => void
  /** Told once, when the file is closed. */
  readonly onClosed: () => Promise<void>
}

/** Leave to hold one block; given back once. */
export interface BlockPlace {
  readonly giveBack: () => void
}

/** Blocks of one object in memory at most, those that are being received included. */
const MAX_HELD = 6
/** Times that room is made for one run of writes. */
const MAX_REFUSALS = 3

interface HeldBlock {
  readonly pieces: readonly Uint8Array[]
  readonly place: BlockPlace
  written: boolean
}

/**
 * An object on its way into the cache whose blocks come in any order, each verified. It is read by any number of readers while it comes. A block
 * can be read as soon as it is here and is written to its place in a temporary file behind the reader's back; what is in memory is bounded.
 * When the disk refuses, what comes from then on lies in bounded memory instead.
 */
export class BlockSpool implements BodySpool {
  readonly length: number
  readonly blockSize: number
  /** Blocks that can be read. */
  readonly here: BlockSet
  /** Blocks that are in the file and have not been verified; see {@link confirm}. */
  readonly claimed: BlockSet
  /** Blocks that are in {@link storable}. */
  readonly #inFile: BlockSet
  readonly #options: BlockSpoolOptions
  /** In the order in which they came. */
  readonly #held = new Map<number, HeldBlock>()
  #places = 0
  #diskFailed = false
  /** While it is not clear for which of the refused blocks there is memory. */
  #moving = false
  #writing: Promise<void> | undefined
  /** Told whenever there may be room for another block. */
  readonly #room = new Changes()
  #closed = false
  #watcher: () => void = () => {}
  /** Memory for the whole object, once the disk has refused, with the blocks that came since. */
  #memory: Buffer | undefined
  #grant: MemoryGrant | undefined
  /** While memory is being waited for. */
  #claiming: Promise<void> | undefined

  constructor (options: BlockSpoolOptions) {
    const { size, blockSize, file, claimed } = options
    const blocks = blockCount(size, blockSize)
    this.#options = options
    this.length = size
    this.blockSize = blockSize
    this.claimed = new BlockSet(blocks, file === undefined ? undefined : claimed?.toBytes())
    this.here = new BlockSet(blocks)
    this.#inFile = new BlockSet(blocks)
  }

  get storable (): SpoolFile | undefined { return this.#diskFailed ? undefined : this.#options.file }
  /** Bytes that lie in memory beside the file. */
  get heldBytes (): number { return [...this.#held.keys()].reduce((sum, block) => sum + this.bytesOf(block), 0) }

  /** @param watcher told whenever more is in the file */
  watch (watcher: () => void): void {
    this.#watcher = watcher
  }

  /** Position up to which the bytes from `start` on can be read; `start` when none can. @param inFile whether of the file, where there is one */
  readableFrom (start: number, inFile: boolean): number {
    const set = inFile && (this.storable !== undefined || this.#moving) ? this.#inFile : this.here
    const block = Math.floor(start / this.blockSize)
    return Math.max(start, Math.min(this.length, set.firstMissing(block) * this.blockSize))
  }

  /** Bytes of a block. */
  bytesOf (block: number): number {
    return Math.min(this.blockSize, this.length - block * this.blockSize)
  }

  /** The bytes of a claimed block. @throws Error when the disk has not got them */
  async readClaimed (block: number): Promise<Uint8Array> {
    const { file, disk } = this.#options
    const bytes = Buffer.allocUnsafeSlow(this.bytesOf(block))
    if (file === undefined) throw new Error('no file')
    await readFully(async (into, offset, length, position) => await disk.readInto(file.handle, into, offset, length, position), bytes, bytes.length, block * this.blockSize)
    return bytes
  }

  /** Whether a claimed block is right: then it can be read. */
  confirm (block: number, right: boolean): void {
    this.claimed.delete(block)
    if (!right) return
    this.here.add(block)
    this.#inFile.add(block)
  }

  /**
   * Waits until one more block may be held. Whoever has none can always have one, so that an object comes, as slowly as its disk, when others have
   * used up the memory.
   * @throws the reason of the signal
   */
  async place (signal: AbortSignal): Promise<BlockPlace> {
    for (;;) {
      signal.throwIfAborted()
      const place = this.#takePlace()
      if (place !== undefined) return place
      await this.#room.next(signal)
    }
  }

  /**
   * Takes a verified block, which can be read from then on; one that is here already is dropped.
   * @param place is given back when the block need not be held any more
   * @throws RelayError RELAY_ERR_FILLS_BUSY when the disk refuses and no memory comes free before `signal` aborts
   */
  async put (block: number, pieces: readonly Uint8Array[], place: BlockPlace, signal: AbortSignal): Promise<void> {
    const file = this.storable
    if (this.here.has(block) || this.#closed) {
      place.giveBack()
      return
    }
    if (file !== undefined) {
      this.#held.set(block, { pieces, place, written: false })
      this.here.add(block)
      this.#writing ??= this.#writeOut(file)
      return
    }
    try {
      const memory = await this.#wholeMemory(signal)
      copyTo(memory, block * this.blockSize, pieces)
      this.here.add(block)
    } finally {
      place.giveBack()
    }
  }

  /** Waits until the disk has taken, or refused, everything that was put. */
  async flush (): Promise<void> {
    await this.#writing
  }

  /**
   * Bytes at `position`, at most `length`; none of a block that is not {@link here}.
   * @param into memory that they may be read into, instead of new memory
   */
  async read (position: number, length: number, into?: Buffer): Promise<Uint8Array> {
    const block = Math.floor(position / this.blockSize)
    const held = this.#held.get(block)
    if (held !== undefined) return pieceAt(held.pieces, position - block * this.blockSize, length)
    if (this.#inFile.has(block) && this.#options.file !== undefined) {
      const end = Math.min(this.length, this.#inFile.firstMissing(block) * this.blockSize)
      return await this.#options.disk.readAt(this.#options.file.handle, position, Math.min(length, MAX_READ_BYTES, end - position), into)
    }
    // Memory that came since the disk refused a block does not have it.
    if (!this.here.has(block)) return new Uint8Array(0)
    const end = Math.min(this.length, (block + 1) * this.blockSize)
    return this.#memory?.subarray(position, Math.min(position + length, end)) ?? new Uint8Array(0)
  }

  /** Closes the file and frees the memory; called once, when writer and readers are done. */
  async close (): Promise<void> {
    this.#closed = true
    await this.#writing
    for (const block of [...this.#held.keys()]) this.#drop(block)
    this.#grant?.release()
    this.#memory = undefined
    await this.#options.file?.handle.close().catch(() => {})
    await this.#options.onClosed()
  }

  /** Blocks that are in the file, those included that are only claimed. */
  stored (): BlockSet {
    return this.#inFile.union(this.claimed)
  }

  /** Blocks that can be read, and those that are only claimed; to be looked at only. */
  taken (): BlockSet {
    return this.claimed.count === 0 ? this.here : this.here.union(this.claimed)
  }

  #takePlace (): BlockPlace | undefined {
    for (;;) {
      const { windows } = this.#options
      const charged = this.#places < MAX_HELD && windows.take(this.blockSize)
      if (charged || this.#places === 0) {
        this.#places++
        let held = true
        return {
          giveBack: () => {
            if (!held) return
            held = false
            this.#places--
            if (charged) windows.giveBack(this.blockSize)
            this.#room.tell()
          }
        }
      }
      const written = [...this.#held].find(([, block]) => block.written)
      if (written === undefined) return undefined
      this.#drop(written[0])
    }
  }

  #drop (block: number): void {
    const held = this.#held.get(block)
    this.#held.delete(block)
    held?.place.giveBack()
  }

  /** Writes until nothing waits. Never rejects. */
  async #writeOut ({ handle }: SpoolFile): Promise<void> {
    let refusals = 0
    for (let next = this.#unwritten(); next !== undefined && !this.#closed && !this.#diskFailed; next = this.#unwritten()) {
      const [block, held] = next
      try {
        await this.#options.disk.writeAt(handle, held.pieces, block * this.blockSize)
        held.written = true
        this.#inFile.add(block)
      } catch (error) {
        if (++refusals <= MAX_REFUSALS && await this.#options.makeRoom(error, this.bytesOf(block))) continue
        this.#diskFailed = true
        this.#options.onDiskError(error)
        this.#moving = true
        await this.#moveToMemory()
        this.#moving = false
      }
      this.#room.tell()
      this.#watcher()
    }
    this.#writing = undefined
  }

  #unwritten (): [block: number, held: HeldBlock] | undefined {
    return [...this.#held].find(([, held]) => !held.written)
  }

  /** What the disk refused, for its readers; where there is no memory for it, it is not here any more. */
  async #moveToMemory (): Promise<void> {
    const memory = await this.#wholeMemory(AbortSignal.timeout(0)).catch(() => undefined)
    for (const [block, { pieces, written }] of [...this.#held]) {
      if (!written && memory === undefined) this.here.delete(block)
      else if (!written && memory !== undefined) copyTo(memory, block * this.blockSize, pieces)
      this.#drop(block)
    }
  }

  /** Claimed once, whoever needs it first: one claim that waits behind another of the same object would wait until the object is closed. */
  async #wholeMemory (signal: AbortSignal): Promise<Buffer> {
    for (;;) {
      if (this.#memory !== undefined) return this.#memory
      const own = this.#claiming === undefined
      this.#claiming ??= this.#claimMemory(signal)
      await this.#claiming
      // Somebody else may have waited for less time than we may.
      if (own && this.#memory === undefined) throw new RelayError('RELAY_ERR_FILLS_BUSY', 'the cache cannot store and no memory is free to pass the object through')
    }
  }

  async #claimMemory (signal: AbortSignal): Promise<void> {
    const grant = await this.#options.memory.acquire(this.length, signal)
    this.#claiming = undefined
    if (this.#closed) grant?.release()
    else if (grant !== undefined) {
      this.#grant = grant
      this.#memory = Buffer.allocUnsafeSlow(this.length)
    }
  }
}
