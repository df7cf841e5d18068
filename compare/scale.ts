/** How much is asked for. */
export interface Scale {
  /** Bytes of a small and of a large shard. */
  readonly sizes: readonly [small: number, large: number]
  /** Length of a run that asks again and again, ms. */
  readonly runMs: number
  /** Length of a run of a browser, ms. */
  readonly browserMs: number
  /** Bytes that are read from cold pages in one run. */
  readonly coldBytes: number
  /** Objects fetched for the first time in one run. */
  readonly misses: number
  /** Whether the machine touches its memory before misses are measured, which takes some seconds. */
  readonly touches: boolean
  /** Objects fetched for the first time before anything is measured. */
  readonly warmMisses: number
  readonly viewers: number
  readonly heldSessions: number
  /** Way to the far super-node and back, ms. */
  readonly farMs: number
}

export const FULL: Scale = { sizes: [1_000_000, 8_000_000], runMs: 1_500, browserMs: 2_000, coldBytes: 240_000_000, misses: 20, touches: true, warmMisses: 300, viewers: 100, heldSessions: 1_000, farMs: 50 }
export const QUICK: Scale = { ...FULL, runMs: 500, browserMs: 500, coldBytes: 40_000_000, misses: 5, touches: false, warmMisses: 20, heldSessions: 100 }
