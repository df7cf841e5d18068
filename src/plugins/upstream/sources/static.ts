import { uniqueNodes, type NodeSource, type NodeSpec } from './node-source.ts'

export interface ConfiguredNode {
  readonly url: string
  readonly region: string
  /** `origin` by default. */
  readonly role?: 'origin' | 'relay'
  readonly operator?: string
}

/** The nodes of the configuration, for the life of the process. */
export class StaticSource implements NodeSource {
  readonly name = 'static'
  readonly #nodes: readonly NodeSpec[]
  #closed = false

  constructor (nodes: readonly ConfiguredNode[]) {
    this.#nodes = uniqueNodes(nodes.map(({ url, role = 'origin', ...node }) => ({ ...node, url: new URL(url).origin, role })))
  }

  async start (onChange: (nodes: readonly NodeSpec[]) => void): Promise<void> {
    if (!this.#closed && this.#nodes.length > 0) onChange(this.#nodes)
  }

  async refresh (): Promise<void> {}

  async close (): Promise<void> {
    this.#closed = true
  }
}
