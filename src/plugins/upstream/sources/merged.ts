import { sameNodes, uniqueNodes, type NodeSource, type NodeSpec } from './node-source.ts'

/** Several sources as one: their nodes in the order of the sources, each once. A source that knows nothing yet takes nothing away. */
export class MergedSource implements NodeSource {
  readonly name: string
  readonly #sources: readonly NodeSource[]
  readonly #lists: (readonly NodeSpec[])[]
  #nodes: readonly NodeSpec[] = []
  #closed = false

  /** @param sources the first to name a URL decides its region and role */
  constructor (sources: readonly NodeSource[]) {
    this.name = sources.map(({ name }) => name).join(', ')
    this.#sources = sources
    this.#lists = sources.map(() => [])
  }

  async start (onChange: (nodes: readonly NodeSpec[]) => void): Promise<void> {
    await Promise.all(this.#sources.map(async (source, position) => {
      await source.start(nodes => {
        if (this.#closed) return
        this.#lists[position] = nodes
        const merged = uniqueNodes(this.#lists.flat())
        if (sameNodes(merged, this.#nodes)) return
        this.#nodes = merged
        onChange(merged)
      })
    }))
  }

  async refresh (): Promise<void> {
    await Promise.all(this.#sources.map(async source => { await source.refresh() }))
  }

  async close (): Promise<void> {
    this.#closed = true
    await Promise.all(this.#sources.map(async source => { await source.close() }))
  }
}
