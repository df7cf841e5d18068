import { Allowance } from '../../base/allowance.ts'
import { MAX_READ_BYTES } from '../../storage/disk-files.ts'

/** Read in one go for a viewer that keeps up, all a read brings: four times fewer turns of the thread pool, which cost more than copying the bytes. */
export const LARGE_CHUNK_BYTES = MAX_READ_BYTES
/** Responses that may do so at the same time. Each holds two chunks in memory, so 64 MiB in all. */
const MAX_LARGE_RESPONSES = 32

/** Leave to read large chunks, bounded over all responses of a listener. */
export class LargeChunks extends Allowance {
  constructor (most = MAX_LARGE_RESPONSES) {
    super(most)
  }
}

/**
 * How much one response reads in one go: large chunks while its viewer takes everything immediately, small ones when he does not, because
 * then they lie in memory.
 */
export class ChunkSize {
  readonly #smallBytes: number
  readonly #large: LargeChunks | undefined
  #granted = false
  #over = false
  #smallInARow = 0
  #bytes: number

  /** @param large undefined leaves all chunks small */
  constructor (smallBytes: number, large?: LargeChunks) {
    this.#smallBytes = smallBytes
    this.#bytes = smallBytes
    this.#large = large
  }

  /** Bytes to read next, at most. */
  get bytes (): number { return this.#bytes }

  /** A chunk was read. @param keptUp whether the viewer had taken all chunks before it */
  chunkRead (keptUp: boolean): void {
    const wasSmall = this.#bytes === this.#smallBytes
    this.#smallInARow = wasSmall ? this.#smallInARow + 1 : 0
    this.#bytes = keptUp && this.#mayBeLarge() ? LARGE_CHUNK_BYTES : this.#smallBytes
    // A response holds two chunks, so after two small ones and before a third no large one is left.
    if (this.#bytes === this.#smallBytes && this.#smallInARow >= 2) this.#giveBack()
  }

  /** The response is over and holds no chunk any more; harmless when called again. */
  end (): void {
    this.#over = true
    this.#bytes = this.#smallBytes
    this.#giveBack()
  }

  #mayBeLarge (): boolean {
    this.#granted ||= !this.#over && this.#large !== undefined && this.#large.take()
    return this.#granted
  }

  #giveBack (): void {
    if (this.#granted) this.#large?.giveBack()
    this.#granted = false
  }
}
