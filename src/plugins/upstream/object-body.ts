import { RelayError } from '../../base/errors.ts'
import type { Timers } from '../../base/clock.ts'
import type { Resume } from './answer.ts'
import type { Attempts } from './attempts.ts'
import { isOurs, translate } from './failure.ts'
import type { LeastRate } from './least-rate.ts'
import { ResumableBody } from './resumable-body.ts'
import type { BodySource } from './source-reader.ts'
import type { SuperNode } from './super-node.ts'
import type { NodeAnswer, UpstreamObject, UpstreamObserver, WantedPart } from './upstream-types.ts'

/** Times one body may go on from another node; with every node broken, nobody waits for ever. */
const MAX_RESUMES = 4

export interface ObjectBodyOptions {
  readonly first: NodeAnswer
  readonly path: string
  /** All of the object without it. */
  readonly part: WantedPart | undefined
  /** See {@link UpstreamFetchOptions.soFar}. */
  readonly soFar: (() => string) | undefined
  readonly wanted: () => boolean
  /** Ends everything. */
  readonly signal: AbortSignal
  /** Asks for the rest: of all nodes, the one that broke off last; or of those beside some that are silent. @throws RelayError */
  readonly request: (signal: AbortSignal, resume: Resume, who: { readonly last: SuperNode } | { readonly beside: ReadonlySet<SuperNode> }) => Promise<NodeAnswer>
  /** Whether others than these can be asked. */
  readonly hasOther: (silent: ReadonlySet<SuperNode>) => boolean
  /** Silence from which a node is late in its body, ms. */
  readonly lateMs: (node: SuperNode) => number
  /** Further silence, ms, after which another is asked without a budget. */
  readonly patienceMs: number
  readonly mayHedge: () => boolean
  readonly leastRate: () => LeastRate
  readonly timers: Timers
  readonly attempts: Attempts
  readonly observer: Pick<UpstreamObserver, 'resumed' | 'received' | 'hedged'>
  readonly log: (level: 'info' | 'warn', message: string, fields: Record<string, unknown>) => void
}

/** The body of an object that a node has answered with, which goes on from another where it breaks off or falls silent, and whom to thank or blame for it. */
export function objectBody (options: ObjectBodyOptions): Pick<UpstreamObject, 'storable' | 'body' | 'senders' | 'failed'> {
  const { first, path, part, soFar, wanted, signal, request, hasOther, lateMs, patienceMs, mayHedge, leastRate, timers, attempts, observer, log } = options
  const { sha256, etag } = first.response
  const size = first.response.size ?? part?.size
  let { node, attempt } = first
  let { storable } = first.response
  /** Everyone who sent part of it: which of them sent a wrong byte cannot be told. */
  const senders = new Map([[node, attempt]])
  let lost = false
  /** Who was asked beside the present node. */
  let other: NodeAnswer | undefined
  /** Those that said nothing more while something was waited for. */
  const silent = new Set<SuperNode>()
  const sourceOf = (answer: NodeAnswer, position: number): BodySource => ({
    body: answer.response.body, skip: position - answer.response.offset, silence: { lateMs: lateMs(answer.node), patienceMs }, release: answer.release
  })
  const restFrom = (position: number, whole: number): Resume => ({ from: position, size: whole, sha256, etag, ...part === undefined ? {} : { to: part.to, verifiable: true } })
  const goesOn = (next: NodeAnswer, position: number | undefined): void => {
    log('info', 'super-node body goes on from another', { node: next.node.id, before: node.id, position, path })
    node = next.node
    attempt = next.attempt
    storable &&= next.response.storable
    senders.set(node, attempt)
  }
  const resume = async (position: number, error: unknown): Promise<BodySource> => {
    // Nobody waits for it any more: another node need not carry it too.
    if (signal.aborted || size === undefined || isOurs(error) || !wanted()) throw error
    attempts.bodyFailed(node, attempt, error, signal)
    const next = await request(signal, restFrom(position, size), { last: node }).catch((failure: unknown) => {
      lost = true
      observer.resumed('failed')
      throw failure
    })
    observer.resumed('ok')
    goesOn(next, position)
    return sourceOf(next, position)
  }
  const askBeside = async (position: number, stop: AbortSignal): Promise<BodySource> => {
    if (size === undefined) throw new Error('nothing tells where the object ends')
    other = undefined
    silent.add(node)
    const ending = new AbortController()
    const end = (): void => { ending.abort(signal.aborted ? signal.reason : new RelayError('RELAY_ERR_UPSTREAM_TIMEOUT', 'the super-node that was silent has gone on')) }
    const forget = (): void => {
      signal.removeEventListener('abort', end)
      stop.removeEventListener('abort', end)
    }
    signal.addEventListener('abort', end)
    stop.addEventListener('abort', end)
    if (signal.aborted || stop.aborted) end()
    try {
      const answer = other = await request(ending.signal, restFrom(position, size), { beside: silent })
      silent.add(answer.node)
      return sourceOf({
        ...answer,
        release: () => {
          forget()
          answer.release()
        }
      }, position)
    } catch (error) {
      forget()
      throw error
    }
  }
  const body = new ResumableBody({
    first: sourceOf(first, part?.from ?? 0),
    start: part?.from ?? 0,
    end: part?.to ?? size,
    maxResumes: MAX_RESUMES,
    leastRate,
    timers,
    received: bytes => { observer.received(node.id, bytes) },
    // A part that is verified block by block needs no start to go on from.
    soFar: part === undefined ? soFar : undefined,
    resume,
    beside: {
      mayHedge,
      wanted: () => wanted() && !signal.aborted && hasOther(new Set([...silent, node])),
      ask: askBeside,
      ended: how => {
        observer.hedged(how)
        if (how === 'lost' || other === undefined) return
        attempts.bodyFailed(node, attempt, new RelayError('RELAY_ERR_UPSTREAM_TIMEOUT', `super-node ${node.id} fell silent in the middle of a body`), signal)
        silent.delete(other.node)
        goesOn(other, undefined)
      }
    }
  })
  return {
    get storable () { return storable },
    body,
    get senders () { return [...senders.keys()].map(({ id }) => id) },
    failed: error => {
      let known = translate(error, node.id, signal)
      // Whoever could not give the rest has been counted.
      if (lost) return known
      const blamed = known.code === 'RELAY_ERR_UPSTREAM_CORRUPT' ? [...senders] : [[node, attempt] as const]
      for (const [sender, sent] of blamed) known = attempts.bodyFailed(sender, sent, error, signal)
      return known
    }
  }
}
