/** Who may be asked for objects. */
export interface NodeSpec {
  /** `http://` or `https://` origin in its normal form; the identity of the node. */
  readonly url: string
  readonly region: string
  /** An origin has the objects; a relay of another tier gets them from one. */
  readonly role: 'origin' | 'relay'
  /** Who runs it. */
  readonly operator?: string
}

/** Where the list of nodes comes from; sources know nothing of what the nodes are asked. */
export interface NodeSource {
  /** For the log. */
  readonly name: string
  /**
   * Begins to watch, once. Resolves when the first answer is in or has failed; a source that knows nothing yet reports nothing.
   * @param onChange called with the whole list whenever it differs from the last, not after {@link close}; never with more than
   * {@link MAX_NODES}
   */
  start (onChange: (nodes: readonly NodeSpec[]) => void): Promise<void>
  /** Looks again now and not when it is due, after a look-up under way; resolves when the answer is in or has failed. Does nothing before {@link start}. */
  refresh (): Promise<void>
  /** Ends it; idempotent, also before {@link start}. */
  close (): Promise<void>
}

/** Nodes of one list: what `upstream.super_nodes` may hold, and a bound on what a name server makes us connect to. */
export const MAX_NODES = 64

/** Each node once, the first mention of a URL wins, at most {@link MAX_NODES}. */
export function uniqueNodes (nodes: Iterable<NodeSpec>): NodeSpec[] {
  const byUrl = new Map<string, NodeSpec>()
  for (const node of nodes) {
    if (byUrl.size >= MAX_NODES) break
    if (!byUrl.has(node.url)) byUrl.set(node.url, node)
  }
  return [...byUrl.values()]
}

/** Whether two lists name the same nodes; the order says nothing. */
export function sameNodes (a: readonly NodeSpec[], b: readonly NodeSpec[]): boolean {
  if (a.length !== b.length) return false
  const byUrl = new Map(a.map(node => [node.url, node]))
  return b.every(({ url, region, role, operator }) => {
    const other = byUrl.get(url)
    return other?.region === region && other.role === role && other.operator === operator
  })
}
