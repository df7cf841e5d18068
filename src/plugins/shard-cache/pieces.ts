/* A run of bytes as it came: in pieces, one after the other. */

/** Copies the pieces to `position` of `memory`, one after the other. */
export function copyTo (memory: Buffer, position: number, pieces: readonly Uint8Array[]): void {
  let at = position
  for (const piece of pieces) {
    memory.set(piece, at)
    at += piece.length
  }
}

/** Bytes at `offset` of what the pieces are together, at most `length` of one piece. */
export function pieceAt (pieces: readonly Uint8Array[], offset: number, length: number): Uint8Array {
  let at = offset
  for (const piece of pieces) {
    if (at < piece.length) return piece.subarray(at, at + length)
    at -= piece.length
  }
  return new Uint8Array(0)
}
