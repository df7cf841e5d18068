/** Where the bytes of a file are: a pure computation over the sizes in its manifest. */
import { ShardClientError } from './client-error.ts'
import type { ClientRange } from './fetch-object.ts'
import type { Manifest } from './manifest.ts'

/** Where one byte of a file is. */
export interface ByteLocation {
  readonly shard: number
  /** Byte of the shard. */
  readonly offset: number
}

/** Bytes of one data shard that are read together: `start` inclusive, `end` exclusive. */
export interface FilePiece {
  readonly shard: number
  readonly start: number
  readonly end: number
}

/** Pieces end at multiples of this, bytes of their shard: a multiple of every size that blocks may have, so that no block is in two pieces of a read. */
export const PIECE_BYTES = 1_048_576
/** The first piece of a read ends at a multiple of this, so that something can be shown before a whole one has come. */
const FIRST_BYTES = 262_144

type Sizes = Pick<Manifest, 'size' | 'shardSize'>

/**
 * Byte N lies in shard floor(N / shardSize), at N mod shardSize.
 * @throws ShardClientError range, when the file has no such byte
 */
export function locateByte ({ size, shardSize }: Sizes, byte: number): ByteLocation {
  if (!(Number.isSafeInteger(byte) && byte >= 0 && byte < size)) throw new ShardClientError('range', `the file has no byte ${byte}, it has ${size}`)
  return { shard: Math.floor(byte / shardSize), offset: byte % shardSize }
}

/**
 * A range of the file with both ends. One that goes on behind the end of the file ends there.
 * @throws ShardClientError range, when it begins behind the end, or is none
 */
export function wholeRange ({ size }: Sizes, range: ClientRange = { start: 0 }): Required<ClientRange> {
  const { start, end = size } = range
  if (!(Number.isSafeInteger(start) && Number.isSafeInteger(end) && start >= 0 && start <= end && start <= size)) {
    throw new ShardClientError('range', `bytes ${start} to ${end} are no range of the file, which has ${size}`)
  }
  return { start, end: Math.min(end, size) }
}

/** The pieces of a range, in order; computed as they are taken, so that a film costs no more than a clip. */
export function * piecesOf (sizes: Sizes, { start, end }: Required<ClientRange>): Generator<FilePiece, void, undefined> {
  for (let at = start, unit = FIRST_BYTES; at < end; unit = PIECE_BYTES) {
    const { shard, offset } = locateByte(sizes, at)
    // A first piece of a few bytes would cost a request for nothing.
    const from = unit === FIRST_BYTES ? offset + FIRST_BYTES / 4 : offset + 1
    const length = Math.min(sizes.shardSize, Math.ceil(from / unit) * unit) - offset
    yield { shard, start: offset, end: offset + Math.min(length, end - at) }
    at += Math.min(length, end - at)
  }
}
