/** The viewers of `bad-paths.ts`, in a process of their own at the far end of the path: told over IPC what to fetch and how, answers with times. */
import { createHash } from 'node:crypto'
import { Agent, request } from 'undici'
import type { ShardClientOptions, TransportName } from '../client/src/index.ts'
import type { TransportMemory } from '../client/src/transport-memory.ts'

export interface FetchOrder {
  readonly url: string
  /** `plain`: HTTP without our client. */
  readonly transport: 'client' | 'plain' | TransportName
  readonly cid: string
  /** Fetched at the same time, by their SHA-256. */
  readonly digests: readonly string[]
  readonly timeoutMs: number
  readonly again: boolean
}

export interface Fetched {
  readonly connectMs: number
  /** Until the last byte of the last shard; undefined when that did not come in time. */
  readonly fetchMs: number | undefined
  /** The same once more by the same client, which knows the path by then. */
  readonly againMs: number | undefined
  /** How it was connected in the end, and whatever went wrong. */
  readonly remark: string
}

interface Client {
  readonly transport: { readonly transport: string }
  fetchShard (cid: string, index: number, options: { signal: AbortSignal }): Promise<{ bytes: Uint8Array }>
  close (): void
}

/** Built code of another version, or these sources. */
const [root] = process.argv.slice(2)
const { connect } = (root === undefined ? await import('../client/src/node.ts') : await import(`${root}/dist/client/node.js`)) as { connect: (url: string, options: ShardClientOptions) => Promise<Client> }

/** Every visit is the first one in its network. An older client has no memory to be emptied. */
async function withoutMemory (): Promise<Pick<ShardClientOptions, 'platform'>> {
  if (root !== undefined) return {}
  const [{ systemPlatform }, { TransportMemory: Memory }] = await Promise.all([import('../client/src/platform.ts'), import('../client/src/transport-memory.ts')])
  const memory: TransportMemory = new Memory()
  return { platform: { ...systemPlatform(), memory } }
}

type Fetch = (index: number, signal: AbortSignal) => Promise<Uint8Array>

async function timed ({ digests, timeoutMs }: FetchOrder, fetchOne: Fetch): Promise<Pick<Fetched, 'fetchMs' | 'remark'>> {
  const started = performance.now()
  const signal = AbortSignal.timeout(timeoutMs)
  try {
    const bodies = await Promise.all(digests.map(async (_, index) => await fetchOne(index, signal)))
    const fetchMs = performance.now() - started
    const wrong = bodies.findIndex((bytes, index) => createHash('sha256').update(bytes).digest('hex') !== digests[index])
    return { fetchMs, remark: wrong < 0 ? '' : `shard ${wrong} is wrong` }
  } catch (error) {
    return { fetchMs: undefined, remark: signal.aborted ? '' : String(error) }
  }
}

async function overClient (order: FetchOrder): Promise<Fetched> {
  const started = performance.now()
  const { transport } = order
  const client = await connect(order.url, { ...await withoutMemory(), ...transport === 'client' || transport === 'plain' ? {} : { transports: [transport] } })
  try {
    const [connectMs, first] = [performance.now() - started, client.transport.transport]
    const fetchOne: Fetch = async (index, signal) => (await client.fetchShard(order.cid, index, { signal })).bytes
    const { fetchMs, remark } = await timed(order, fetchOne)
    const { fetchMs: againMs } = order.again && fetchMs !== undefined ? await timed(order, fetchOne) : { fetchMs: undefined }
    const last = client.transport.transport
    return { connectMs, fetchMs, againMs, remark: `${first === last ? first : `${first}, then ${last}`}${remark === '' ? '' : `: ${remark}`}` }
  } finally {
    client.close()
  }
}

/** A connection for each shard, as of any HTTP/1.1 client. */
async function overHttp (order: FetchOrder): Promise<Fetched> {
  const dispatcher = new Agent()
  try {
    const fetched = await timed(order, async (index, signal) => {
      const { statusCode, body } = await request(`${order.url}/shards/${order.cid}/shard_${index}.bin`, { dispatcher, signal })
      if (statusCode !== 200) throw new Error(`status ${statusCode}`)
      return await body.bytes()
    })
    return { connectMs: 0, againMs: undefined, ...fetched }
  } finally {
    await dispatcher.destroy()
  }
}

process.on('message', message => {
  const order = message as FetchOrder
  const fetching = order.transport === 'plain' ? overHttp(order) : overClient(order)
  fetching.then(fetched => { process.send?.(fetched) }, (error: unknown) => {
    process.send?.({ connectMs: 0, fetchMs: undefined, againMs: undefined, remark: String(error) } satisfies Fetched)
  })
})
process.on('disconnect', () => { process.exit(0) })
process.send?.('ready')
