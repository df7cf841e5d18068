import { RelayError } from '../../base/errors.ts'
import type { FromGateway } from '../../channel/from-gateway.ts'
import type { Refusal, SendToGateway } from '../../channel/to-gateway.ts'
import type { ShardKey } from '../../protocol/shard-key.ts'
import { CHUNK_BYTES } from '../../storage/disk-files.ts'
import type { OpenResponses } from '../limits/open-responses.ts'
import { MemoryBudget } from '../shard-cache/memory-budget.ts'
import { endOf, type OpenOptions, type OpenShard } from '../shards/open-shard.ts'
import type { ShardService } from '../shards/shard-service.ts'
import { LeaseTable } from './lease-table.ts'
import { ProgressNotifier } from './progress-notifier.ts'

/** Questions under way at the same time; the gateway keeps to the same bound, this one is for a gateway that does not. */
const MAX_QUESTIONS = 16_384
/** Bytes read for the gateway that the channel has not taken yet: it has no back-pressure of its own. */
const UNSENT_BYTES = 16 * 1024 * 1024

/** Counts responses; see {@link OpenResponses}. */
export type ResponseCount = Pick<OpenResponses, 'begin'>

const UNCOUNTED: ResponseCount = { begin: () => () => {} }

type GatewayRequest = Extract<FromGateway, { type: 'resolve' | 'cancel' | 'read' | 'release' }>

function refusalOf (error: unknown): Refusal {
  return error instanceof RelayError
    ? { code: error.code, detail: error.message, retryAfterSeconds: error.retryAfterSeconds }
    : { code: 'RELAY_ERR_INTERNAL', detail: 'unexpected error; see the relay log' }
}

/** The relay's side of one gateway life: resolves, reads what no file holds, tells progress, keeps the leases. */
export class GatewayRequests {
  readonly #shards: Pick<ShardService, 'open'>
  readonly #send: SendToGateway
  readonly #responses: ResponseCount
  readonly #table = new LeaseTable()
  readonly #progress: ProgressNotifier
  readonly #unsent = new MemoryBudget(UNSENT_BYTES)
  /** Questions under way; aborted when their viewer has gone. */
  readonly #resolving = new Map<number, AbortController>()
  readonly #reading = new Map<number, AbortController>()
  #over = false

  /** @param responses counts those of sessions, each until its object is given back */
  constructor (shards: Pick<ShardService, 'open'>, send: SendToGateway, responses: ResponseCount = UNCOUNTED) {
    this.#shards = shards
    this.#responses = responses
    this.#send = send
    this.#progress = new ProgressNotifier(send)
  }

  get leases (): number { return this.#table.size }

  sizes (): Record<string, number> {
    return { 'relay.leases': this.#table.size, 'relay.resolving': this.#resolving.size, 'relay.reading': this.#reading.size, 'relay.progress': this.#progress.waiting }
  }

  take (message: GatewayRequest): void {
    if (this.#over) return
    switch (message.type) {
      case 'resolve': this.#question(this.#resolving, message, async signal => { await this.#resolve(message, signal) }); break
      case 'read': this.#question(this.#reading, message, async signal => { await this.#read(message, signal) }); break
      case 'cancel':
        this.#resolving.get(message.id)?.abort()
        this.#reading.get(message.id)?.abort()
        break
      case 'release': this.#table.release(message.lease); break
    }
  }

  /** The gateway is gone: everything it held is released, immediately or as soon as it is there. */
  end (): void {
    this.#over = true
    this.#progress.end()
    for (const abort of [...this.#resolving.values(), ...this.#reading.values()]) abort.abort()
    this.#table.end()
  }

  #question (asked: Map<number, AbortController>, { id }: { id: number }, answer: (signal: AbortSignal) => Promise<void>): void {
    // An id that is in use can only come from a gateway with a defect; its first question keeps the id.
    if (asked.size >= MAX_QUESTIONS || asked.has(id)) {
      this.#send({ type: 'rejected', id, refusal: { code: 'RELAY_ERR_FILLS_BUSY', detail: 'too many requests wait for the relay' } })
      return
    }
    const abort = new AbortController()
    asked.set(id, abort)
    answer(abort.signal).catch((error: unknown) => {
      if (!abort.signal.aborted) this.#send({ type: 'rejected', id, refusal: refusalOf(error) })
    }).finally(() => { asked.delete(id) })
  }

  async #resolve ({ id, key, address, request, range, next }: Extract<GatewayRequest, { type: 'resolve' }>, signal: AbortSignal): Promise<void> {
    const shard = await this.#open(key, { range, next, trace: request === undefined ? undefined : { id: request.id, trace: request.trace } }, this.#responses.begin(address), signal)
    if (signal.aborted) {
      shard.release()
      return
    }
    const lease = this.#table.add(shard)
    const { file, size, sha256, verified, origin, lasting, lifetime } = shard
    const path = file?.path
    const readable = file?.readable() ?? 0
    this.#send({ type: 'resolved', id, info: { lease, size, sha256, verified, lasting, lifetime, origin, file: file === undefined || path === undefined ? undefined : { path, readable, whole: file.whole, byBlocks: file.byBlocks, blocks: file.blocks } } })
    shard.whenRevoked(error => { if (this.#table.has(lease)) this.#send({ type: 'revoked', lease, refusal: refusalOf(error) }) })
    // Where not every byte is verified by itself, the last one waits for all of them.
    const wanted = file?.byBlocks === true ? endOf(range, size) : size
    if (path !== undefined && readable < wanted) this.#follow(lease, shard, readable, wanted)
  }

  /** @param ended called when the object is given back or cannot be had, or the viewer has gone before; any number of times */
  async #open (key: ShardKey, asked: Pick<OpenOptions, 'range' | 'next' | 'trace'>, ended: () => void, signal: AbortSignal): Promise<OpenShard> {
    signal.addEventListener('abort', ended, { once: true })
    try {
      const shard = await this.#shards.open(key, { asFile: true, ...asked })
      const release = (): void => {
        shard.release()
        ended()
      }
      return { ...shard, release }
    } catch (error) {
      ended()
      throw error
    } finally {
      signal.removeEventListener('abort', ended)
    }
  }

  /** Tells how far a growing file may be read, until all that is wanted may be, or it is broken or given back. */
  #follow (lease: number, { file }: OpenShard, told: number, wanted: number): void {
    if (file === undefined) return
    const follow = async (): Promise<void> => {
      for (let readable = told; readable < wanted;) {
        await file.more(readable)
        if (!this.#table.has(lease)) return
        readable = await this.#progress.tell(lease, () => file.readable())
      }
    }
    follow().catch((error: unknown) => {
      if (this.#table.has(lease)) this.#send({ type: 'broken', lease, refusal: refusalOf(error) })
    })
  }

  async #read ({ id, lease, position, length, end }: Extract<GatewayRequest, { type: 'read' }>, signal: AbortSignal): Promise<void> {
    const shard = this.#table.get(lease)
    if (shard === undefined || position >= shard.size) throw new RelayError('RELAY_ERR_INTERNAL', 'no such lease, or a position outside its object')
    const wanted = Math.min(length, CHUNK_BYTES, shard.size - position)
    // Waiting for a super-node must not keep memory from those whose bytes are there.
    await shard.file?.more(position)
    const grant = await this.#unsent.acquire(wanted, signal)
    if (grant === undefined) return
    try {
      const chunk = await shard.read(position, wanted, end)
      if (signal.aborted) grant.release()
      else this.#send({ type: 'bytes', id, chunk, file: shard.file?.whole === true ? shard.file.path : undefined }, () => { grant.release() })
    } catch (error) {
      grant.release()
      throw error
    }
  }
}
