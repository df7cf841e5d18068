import { uniqueNodes, type NodeSource, type NodeSpec } from './node-source.ts'

export interface ConfiguredNode {
  readonly url: string
  readonly region: string
  /** `origin` by default. */
  readonly role?: 'origin' | 'relay'
  readonly operator?: string
}

function specsOf (nodes: readonly ConfiguredNode[]): NodeSpec[] {
  return uniqueNodes(nodes.map(({ url, role = 'origin', ...node }) => ({ ...node, url: new URL(url).origin, role })))
}

/** The nodes of the configuration. */
export class StaticSource implements NodeSource {
  readonly name = 'static'
  #nodes: readonly NodeSpec[]
  #onChange: ((nodes: readonly NodeSpec[]) => void) | undefined
  #closed = false

  constructor (nodes: readonly ConfiguredNode[]) {
    this.#nodes = specsOf(nodes)
  }

  async start (onChange: (nodes: readonly NodeSpec[]) => void): Promise<void> {
    if (this.#closed) return
    this.#onChange = onChange
    if (this.#nodes.length > 0) onChange(this.#nodes)
  }

  /** The configuration names these from now on. */
  set (nodes: readonly ConfiguredNode[]): void {
    this.#nodes = specsOf(nodes)
    if (!this.#closed) this.#onChange?.(this.#nodes)
  }

  async refresh (): Promise<void> {}

  async close (): Promise<void> {
    this.#closed = true
  }
}
