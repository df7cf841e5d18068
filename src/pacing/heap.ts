/** One item's place in one `Heap`; made once, pushed and removed many times. */
export class HeapNode<T> {
  readonly item: T
  /** Set by the heap. */
  key = 0
  /** Where the heap holds the node; -1 outside. Set by the heap. */
  index = -1

  constructor (item: T) {
    this.item = item
  }

  get held (): boolean { return this.index >= 0 }
}

/** Binary min-heap whose nodes know their index, so that any of them is removed or moved in O(log n). Equal keys come in any order. */
export class Heap<T> {
  readonly #nodes: Array<HeapNode<T>> = []

  get size (): number { return this.#nodes.length }

  /** The node with the least key. */
  get top (): HeapNode<T> | undefined { return this.#nodes[0] }

  /** Adds a node that no heap holds. */
  push (node: HeapNode<T>, key: number): void {
    if (node.held) throw new Error('the node is in a heap already')
    node.key = key
    this.#nodes.push(node)
    this.#rise(node, this.#nodes.length - 1)
  }

  /** Moves a node to where its new key belongs. */
  update (node: HeapNode<T>, key: number): void {
    this.#mustHold(node)
    const rises = key < node.key
    node.key = key
    if (rises) this.#rise(node, node.index)
    else this.#sink(node, node.index)
  }

  /** Takes a node out. */
  remove (node: HeapNode<T>): void {
    this.#mustHold(node)
    const index = node.index
    const last = this.#nodes.pop()
    node.index = -1
    if (last === undefined || last === node) return
    if (last.key < node.key) this.#rise(last, index)
    else this.#sink(last, index)
  }

  /** Gives every node a new key, in O(n). */
  rekey (keyOf: (item: T, key: number) => number): void {
    for (const node of this.#nodes) node.key = keyOf(node.item, node.key)
    for (let index = (this.#nodes.length >> 1) - 1; index >= 0; index--) {
      const node = this.#nodes[index]
      if (node !== undefined) this.#sink(node, index)
    }
  }

  #mustHold (node: HeapNode<T>): void {
    if (this.#nodes[node.index] !== node) throw new Error('the node is not in this heap')
  }

  #rise (node: HeapNode<T>, from: number): void {
    let index = from
    while (index > 0) {
      const above = (index - 1) >> 1
      const parent = this.#nodes[above]
      if (parent === undefined || parent.key <= node.key) break
      this.#put(parent, index)
      index = above
    }
    this.#put(node, index)
  }

  #sink (node: HeapNode<T>, from: number): void {
    let index = from
    for (;;) {
      let below = 2 * index + 1
      let child = this.#nodes[below]
      if (child === undefined) break
      const other = this.#nodes[below + 1]
      if (other !== undefined && other.key < child.key) {
        child = other
        below += 1
      }
      if (node.key <= child.key) break
      this.#put(child, index)
      index = below
    }
    this.#put(node, index)
  }

  #put (node: HeapNode<T>, index: number): void {
    this.#nodes[index] = node
    node.index = index
  }
}
