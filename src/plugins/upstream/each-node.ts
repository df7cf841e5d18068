import type { Readable } from 'node:stream'
import { systemTimers, type Timers } from '../../base/clock.ts'
import { deferred } from '../../base/deferred.ts'

/** What one node sent. */
export interface NodeText {
  readonly node: string
  /** Who vouches for it: see {@link witnessOf}. */
  readonly witness: string
  readonly bytes: Buffer
}

export interface AskEachOptions {
  /** `via` members of the request that needs the answers. */
  readonly via: readonly string[]
  /** Ends everything. */
  readonly signal: AbortSignal
  /** Nodes asked at the same time. */
  readonly parallel: number
  /** Of one answer; a longer one is given with a byte more than this, and the rest is not read. */
  readonly maxBytes: number
  /** Given every answer; true when no more are needed. Must not throw. */
  readonly take: (answer: NodeText) => boolean
}

/** Nodes of one operator, or of one region where none is named, are one witness: whoever runs both could make both lie. */
export function witnessOf ({ region, operator }: { readonly region: string, readonly operator?: string | undefined }): string {
  return operator === undefined ? `region ${region}` : `operator ${operator}`
}

/** One of each witness first, then the second of each: answers are wanted from different ones. The order within one stays. */
export function witnessesInTurn<T extends { readonly region: string, readonly operator?: string | undefined }> (nodes: readonly T[]): T[] {
  const before = new Map<string, number>()
  return nodes
    .map(node => {
      const witness = witnessOf(node)
      const turn = before.get(witness) ?? 0
      before.set(witness, turn + 1)
      return { node, turn }
    })
    .toSorted((a, b) => a.turn - b.turn)
    .map(({ node }) => node)
}

/** A node that has not answered by then has another asked beside it, ms: two or three round trips around the world. One that sends a byte now and then keeps nobody. */
export const PATIENCE_MS = 500

/**
 * Asks each node once, `parallel` at the same time and one more for each that is late, until `take` has enough or there are no more. A node that
 * fails is passed over.
 * @param ask settles soon after its signal aborts
 */
export async function askEach<T> (nodes: readonly T[], { parallel, signal, take }: Pick<AskEachOptions, 'parallel' | 'signal' | 'take'>, ask: (node: T, signal: AbortSignal) => Promise<NodeText>, timers: Pick<Timers, 'after'> = systemTimers): Promise<void> {
  const left = nodes[Symbol.iterator]()
  const enough = new AbortController()
  const stop = (): void => { enough.abort() }
  signal.addEventListener('abort', stop, { once: true })
  if (signal.aborted) stop()
  const running: Promise<void>[] = []
  const askOne = async (node: T): Promise<void> => {
    const answer = await ask(node, enough.signal).catch(() => undefined)
    if (answer !== undefined && !enough.signal.aborted && take(answer)) stop()
  }
  const worker = async (): Promise<void> => {
    for (const node of left) {
      if (enough.signal.aborted) return
      const late = deferred<undefined>()
      const cancel = timers.after(PATIENCE_MS, () => { late.resolve(undefined) })
      const asking = askOne(node)
      running.push(asking)
      await Promise.race([asking, late.promise])
      cancel()
    }
  }
  try {
    await Promise.all(Array.from({ length: Math.min(parallel, nodes.length) }, worker))
    await Promise.all(running)
  } finally {
    signal.removeEventListener('abort', stop)
  }
}

/** A body of at most `maxBytes`, or its first `maxBytes + 1` bytes. @throws what the body ends with */
export async function readUpTo (body: Readable, maxBytes: number): Promise<Buffer> {
  const chunks: Buffer[] = []
  let length = 0
  for await (const chunk of body as AsyncIterable<Buffer>) {
    chunks.push(chunk)
    length += chunk.length
    if (length > maxBytes) break
  }
  return Buffer.concat(chunks).subarray(0, maxBytes + 1)
}
