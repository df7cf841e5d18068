import { RelayError } from '../../base/errors.ts'
import { Serial } from '../../base/serial.ts'
import { saveChanges, type NodeChanges } from './node-changes.ts'
import type { NodeAddress, NodeSet } from './node-set.ts'
import type { AdminState } from './node-state.ts'
import { MAX_NODES } from './sources/node-source.ts'

/** Who is a super-node: what the sources name, with what operators changed of it, kept in a file. */
export class NodeRoster {
  readonly #nodes: NodeSet
  readonly #changes: NodeChanges
  readonly #file: string
  #named: readonly NodeAddress[] = []
  /** Writes come one after the other, each with the latest state. */
  readonly #writes = new Serial()

  constructor (nodes: NodeSet, changes: NodeChanges, file: string) {
    this.#nodes = nodes
    this.#changes = changes
    this.#file = file
  }

  /** The sources name these nodes, by their origins, and no others any more. */
  name (nodes: readonly NodeAddress[]): void {
    this.#named = nodes
    this.#apply()
  }

  /** @throws RelayError RELAY_ERR_BAD_REQUEST when it is there already or there are too many */
  async add (node: NodeAddress): Promise<void> {
    const url = new URL(node.url).origin
    if (this.#nodes.nodes.some(other => other.url === url)) throw new RelayError('RELAY_ERR_BAD_REQUEST', `${url} is there already`)
    if (this.#nodes.size >= MAX_NODES) throw new RelayError('RELAY_ERR_BAD_REQUEST', `there are ${MAX_NODES} super-nodes already`)
    await this.#change(() => { this.#changes.add({ ...node, url }) })
  }

  /** New requests no longer go there; bodies under way end well. @throws RelayError RELAY_ERR_NOT_FOUND, RELAY_ERR_BAD_REQUEST for the last one */
  async remove (id: string): Promise<void> {
    const { url } = this.#find(id)
    if (this.#nodes.size === 1) throw new RelayError('RELAY_ERR_BAD_REQUEST', 'the last super-node cannot be removed')
    await this.#change(() => { this.#changes.remove(url) })
  }

  /** @throws RelayError RELAY_ERR_NOT_FOUND */
  async setState (id: string, state: AdminState): Promise<void> {
    const { url } = this.#find(id)
    await this.#change(() => { this.#changes.setState(url, state) })
  }

  /** Resolves when everything is written. */
  async close (): Promise<void> {
    await this.#writes.ended()
  }

  #find (id: string): { url: string } {
    const node = this.#nodes.find(id)
    if (node === undefined) throw new RelayError('RELAY_ERR_NOT_FOUND', 'no such super-node')
    return node
  }

  async #change (change: () => void): Promise<void> {
    change()
    this.#apply()
    try {
      await this.#writes.run(async () => { await saveChanges(this.#file, this.#changes) })
    } catch (error) {
      throw new RelayError('RELAY_ERR_INTERNAL', 'the change is in force, and could not be written: it will not outlive this process', { cause: error })
    }
  }

  #apply (): void {
    this.#nodes.set(this.#changes.apply(this.#named))
    for (const node of this.#nodes.nodes) this.#nodes.setState(node, this.#changes.state(node.url))
  }
}
