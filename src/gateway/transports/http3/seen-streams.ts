/** Remembers which of the peer's streams of one type have been met, in memory bounded by how far they arrive out of order. */
export class SeenStreams {
  /** Every stream below is known. Counted in sequence numbers: stream id / 4. */
  private below = 0
  private readonly above = new Set<number>()

  get size (): number { return this.above.size }

  /** True the first time it is called for a stream id. */
  add (streamId: number): boolean {
    const sequence = Math.floor(streamId / 4)
    if (sequence < this.below || this.above.has(sequence)) return false
    this.above.add(sequence)
    while (this.above.delete(this.below)) this.below++
    return true
  }
}
