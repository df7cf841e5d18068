import type { SuperNode } from './super-node.ts'

/** What is asked; of a {@link SuperNode}. */
type Suspect = Pick<SuperNode, 'mayBeRelay' | 'leadsBack'>

/** Questions under way at the same time: each holds a connection for as long as a relay needs for its answer. More are not asked. */
export const MAX_QUESTIONS = 16

/**
 * Finds out whether a fetch waits for the very relay that wants to join it. No `via` shows that when each of them began for a viewer of
 * its own. So what the fetch waits for is asked once more, by the way of the one who joins: the request runs along everything
 * that waits, and comes back as 508 if that is a circle (edge chasing: Chandy, Misra, Haas, "Distributed deadlock detection", 1983).
 */
export class Circles {
  #questions = 0

  /** Questions under way; at most {@link MAX_QUESTIONS}. */
  get questions (): number { return this.#questions }

  /**
   * The first of the nodes that leads back to us; undefined when none does, or none that could be a relay can be asked.
   * @param fields request header fields with the `via` of the one who joins
   */
  async find<T extends Suspect>(nodes: Iterable<T>, path: string, fields: Readonly<Record<string, string>>): Promise<T | undefined> {
    const suspects = [...nodes].filter(node => node.mayBeRelay)
    const asked = suspects.slice(0, MAX_QUESTIONS - this.#questions)
    const answers = asked.map(async node => {
      this.#questions++
      try {
        if (!await node.leadsBack(path, fields)) throw new Error('no circle')
        return node
      } finally {
        this.#questions--
      }
    })
    return await Promise.any(answers).catch(() => undefined)
  }
}
