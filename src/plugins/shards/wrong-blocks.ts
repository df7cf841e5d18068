/** Blocks remembered with what came for them; there are no more looks than that in one run. */
const MAX_BLOCKS = 64

/** The wrong blocks that came in one fill: when several who have nothing to do with each other send the same, it may be the manifest that is wrong. */
export class WrongBlocks {
  /** Block and digest to the first who sent it. */
  readonly #senders = new Map<string, string>()
  readonly #nodes = new Set<string>()

  #agreed = false

  /** Whether two senders sent the same. */
  get agreed (): boolean { return this.#agreed }
  get count (): number { return this.#senders.size }
  /** Everyone who sent one. */
  get nodes (): readonly string[] { return [...this.#nodes] }

  /** @param senders of the block; nobody when it was rebuilt @param digest of what came @returns that, in lower-case hex */
  add (block: number, senders: readonly string[], digest: Buffer): string {
    for (const node of senders) this.#nodes.add(node)
    const hex = digest.toString('hex')
    const name = `${block} ${hex}`
    const sender = senders.toSorted().join(' ')
    const first = this.#senders.get(name)
    if (first === undefined && this.#senders.size < MAX_BLOCKS) this.#senders.set(name, sender)
    if (first !== undefined && first !== sender) this.#agreed = true
    return hex
  }
}
