import assert from 'node:assert/strict'
import { deferred } from '../../src/base/deferred.ts'
import { RelayError } from '../../src/base/errors.ts'
import { checkFromGateway } from '../../src/channel/from-gateway.ts'
import { GatewayRequests } from '../../src/plugins/viewers/gateway-requests.ts'
import type { ToGateway } from '../../src/channel/to-gateway.ts'
import { RemoteSource } from '../../src/gateway/remote-source.ts'
import { OpenResponses } from '../../src/plugins/limits/open-responses.ts'
import type { OpenOptions, OpenShard } from '../../src/plugins/shards/open-shard.ts'
import type { ShardService } from '../../src/plugins/shards/shard-service.ts'
import type { ShardKey } from '../../src/protocol/shard-key.ts'

/** Both ends of the channel in this process, joined by queues that a test empties as it likes. */
export class Channel {
  readonly requests: GatewayRequests
  readonly source: RemoteSource
  readonly responses = new OpenResponses({ perAddress: Infinity, total: Infinity })
  readonly #toRelay: unknown[] = []
  readonly #toGateway: { message: ToGateway, sent: () => void }[] = []
  /** Whether messages are delivered by themselves, a few turns later. */
  readonly #prompt: boolean
  #scheduled = false
  #dead = false
  /** Bytes of objects that crossed it. */
  bytes = 0
  /** Messages by type. */
  readonly seen: Record<string, number> = {}

  constructor (shards: Pick<ShardService, 'open'>, { ramBytes = 0, prompt = true }: { ramBytes?: number, prompt?: boolean } = {}) {
    this.#prompt = prompt
    this.requests = new GatewayRequests(shards, (message, sent = () => {}) => {
      if (this.#dead) return sent()
      this.#toGateway.push({ message: structuredClone(message), sent })
      this.#schedule()
    }, this.responses)
    this.source = new RemoteSource(message => {
      if (this.#dead) return
      this.#toRelay.push(structuredClone(message))
      this.#schedule()
    }, ramBytes, 60_000)
  }

  get waiting (): number { return this.#toRelay.length + this.#toGateway.length }

  /** Delivers up to `count` messages in one direction within one turn, as Node does with what one read of the channel brought. */
  deliver (direction: 'relay' | 'gateway', count: number): void {
    for (let done = 0; done < count && !this.#dead; done++) {
      if (direction === 'relay') {
        const message = this.#toRelay.shift()
        if (message === undefined) return
        const checked = checkFromGateway(message)
        if (typeof checked === 'string') assert.fail(checked)
        this.#count(checked.type)
        assert.ok(checked.type === 'resolve' || checked.type === 'cancel' || checked.type === 'read' || checked.type === 'release')
        this.requests.take(checked)
      } else {
        const next = this.#toGateway.shift()
        if (next === undefined) return
        this.#count(next.message.type)
        if (next.message.type === 'bytes') this.bytes += next.message.chunk.length
        next.sent()
        assert.ok(this.source.take(next.message))
      }
    }
  }

  /** The gateway dies: nothing is delivered any more. */
  kill (): void {
    this.#dead = true
    for (const { sent } of this.#toGateway) sent()
    this.requests.end()
  }

  #count (type: string): void { this.seen[type] = (this.seen[type] ?? 0) + 1 }

  #schedule (): void {
    if (!this.#prompt || this.#scheduled) return
    this.#scheduled = true
    setImmediate(() => {
      this.#scheduled = false
      this.deliver('relay', 1_000)
      this.deliver('gateway', 1_000)
      if (this.waiting > 0) this.#schedule()
    })
  }
}

/** An object that grows when the test says so, read from `path` or from memory. */
export class GrowingObject {
  readonly bytes: Buffer
  readonly path: string | undefined
  readable = 0
  error: RelayError | undefined
  #changed = deferred<undefined>()

  constructor (bytes: Buffer, path: string | undefined) {
    this.bytes = bytes
    this.path = path
  }

  grow (readable: number): void {
    this.readable = Math.min(this.bytes.length, Math.max(this.readable, readable))
    this.#wake()
  }

  fail (): void {
    if (this.readable < this.bytes.length) this.error ??= new RelayError('RELAY_ERR_UPSTREAM_BODY', 'the origin broke off')
    this.#wake()
  }

  async more (position: number): Promise<void> {
    while (this.readable <= position) {
      if (this.error !== undefined) throw this.error
      await this.#changed.promise
    }
  }

  #wake (): void {
    const changed = this.#changed
    this.#changed = deferred<undefined>()
    changed.resolve(undefined)
  }
}

/** Lends growing objects and counts that each is given back once. */
export class FakeShards {
  readonly objects = new Map<string, GrowingObject>()
  /** While set, opening waits. */
  gate: Promise<void> | undefined
  opened = 0
  released = 0
  twice = 0
  /** Revokes the object that was opened last. */
  revoke: (error: RelayError) => void = () => {}

  async open (key: ShardKey, _options?: OpenOptions): Promise<OpenShard> {
    await this.gate
    const object = this.objects.get(key.cid)
    if (object === undefined) throw new RelayError('RELAY_ERR_SHARD_NOT_FOUND', 'no super-node has it')
    this.opened++
    let held = true
    return {
      key,
      size: object.bytes.length,
      sha256: undefined,
      origin: { hit: false, collapsed: false, region: 'X', node: 'x', headMs: 1 },
      verified: true,
      lasting: true,
      buffer: undefined,
      file: { path: object.path, byBlocks: false, get whole () { return object.readable === object.bytes.length }, readable: () => object.readable, more: async position => { await object.more(position) } },
      read: async (position, length) => {
        await object.more(position)
        return object.bytes.subarray(position, Math.min(object.readable, position + length))
      },
      whenRevoked: listener => { this.revoke = listener },
      release: () => {
        if (!held) this.twice++
        else this.released++
        held = false
      }
    }
  }
}

/** Reads a whole object as a viewer session does; releases it whatever happens. */
export async function readThrough (source: RemoteSource, key: ShardKey, signal: AbortSignal, chunkBytes = 65_536, onChunk: (position: number) => void = () => {}): Promise<Buffer> {
  const lease = await source.resolve(key, { range: undefined, signal })
  try {
    const chunks: Buffer[] = []
    for (let position = 0; position < lease.size;) {
      const chunk = await lease.body.read(position, chunkBytes)
      assert.ok(chunk.length > 0 && chunk.length <= chunkBytes, `${chunk.length} bytes`)
      // Copied immediately: the bytes belong to the lease.
      chunks.push(Buffer.from(chunk))
      position += chunk.length
      onChunk(position)
    }
    return Buffer.concat(chunks)
  } finally {
    lease.release()
  }
}
