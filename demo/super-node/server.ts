import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { RelayError } from '../../src/base/errors.ts'
import { parseShardPath, type ShardKey } from '../../src/protocol/shard-key.ts'
import { Catalog, type CatalogItem } from './catalog.ts'
import { FaultsError, parseFaults, planFaults, seededRandom, type Faults } from './faults.ts'
import { pause, sendJson, sendList, sendObject } from './reply.ts'

export type { CatalogItem } from './catalog.ts'
export type { Faults } from './faults.ts'
export { syntheticShard } from './synthetic.ts'

export interface SuperNodeOptions {
  /** Address to listen on; 127.0.0.1 by default. */
  readonly host?: string
  /** TCP port; 0 (the default) takes a free one. */
  readonly port?: number
  /** NA-WEST by default. */
  readonly region?: string
  /** Name in the `x-super-node` header of every answer; the region by default. */
  readonly id?: string
  /** Media files to publish. */
  readonly media?: readonly string[]
  /** Faults from the start; reset() returns to them. */
  readonly faults?: Faults
  /** Numbers in [0, 1) for the shares among the faults; Math.random by default. */
  readonly random?: () => number
}

export interface SuperNodeStats {
  /** Requests received, without those to /_demo/ and /health. */
  readonly requests: number
  /** Requests by path without query; the first 10,000 paths. */
  readonly byPath: Readonly<Record<string, number>>
  readonly openSockets: number
  /** Body bytes of shards and manifests handed to the kernel. */
  readonly bytesSent: number
}

/** A running super-node. */
export interface SuperNode {
  /** `http://host:port`, no slash at the end. */
  readonly url: string
  readonly port: number
  readonly region: string
  readonly catalog: readonly CatalogItem[]
  /** Replaces all faults; requests already received keep theirs. @throws FaultsError */
  setFaults (faults: Faults): void
  stats (): SuperNodeStats
  /** Counters to zero, faults as at the start. */
  reset (): void
  /** Stops listening and destroys every socket immediately. */
  close (): Promise<void>
}

const MAX_PATHS = 10_000
const MAX_CONTROL_BYTES = 65_536

class Origin {
  readonly #catalog: Catalog
  readonly #options: SuperNodeOptions
  readonly #region: string
  readonly sockets = new Set<Socket>()
  #faults: Faults = {}
  #random: () => number = Math.random
  #requests = 0
  #bytesSent = 0
  #byPath = new Map<string, number>()

  constructor (catalog: Catalog, region: string, options: SuperNodeOptions) {
    this.#catalog = catalog
    this.#region = region
    this.#options = options
    this.reset()
  }

  setFaults (faults: Faults): void {
    const checked = parseFaults(faults)
    this.#random = checked.seed === undefined ? this.#options.random ?? Math.random : seededRandom(checked.seed)
    this.#faults = checked
  }

  reset (): void {
    this.setFaults(this.#options.faults ?? {})
    this.#requests = 0
    this.#bytesSent = 0
    this.#byPath.clear()
  }

  stats (): SuperNodeStats {
    return { requests: this.#requests, byPath: Object.fromEntries(this.#byPath), openSockets: this.sockets.size, bytesSent: this.#bytesSent }
  }

  async handle (request: IncomingMessage, response: ServerResponse): Promise<void> {
    const [path = '/'] = (request.url ?? '/').split('?', 1)
    response.setHeader('x-super-node', this.#options.id ?? this.#region)
    if (path.startsWith('/_demo/')) return this.#control(path, request, response)
    this.#count(path)
    const plan = planFaults(this.#faults, path, this.#random)
    if (plan.hang) return
    if (plan.waitMs > 0) await pause(response, plan.waitMs)
    if (response.destroyed) return
    if (plan.status !== undefined) return sendJson(response, plan.status, { error: 'fault', status: plan.status })
    if (request.method !== 'GET' && request.method !== 'HEAD') {
      response.setHeader('allow', 'GET, HEAD')
      return sendJson(response, 405, { error: 'method not allowed' })
    }
    if (path === '/health') return sendJson(response, 200, { status: 'ok', region: this.#region })
    if (path === '/recent') return sendList(request, response, { items: this.#catalog.items.map(({ cid, publishedAt, tags }) => ({ cid, publishedAt, tags })) })
    const key = keyOf(path)
    const object = key === undefined ? undefined : await this.#catalog.find(key)
    if (response.destroyed) return
    if (object === undefined) return sendJson(response, 404, { error: 'not found' })
    await sendObject(request, response, object, plan.body, count => { this.#bytesSent += count })
  }

  #count (path: string): void {
    // Health checks come by the clock, and are not what a test counts.
    if (path !== '/health') this.#requests++
    const known = this.#byPath.get(path)
    if (known !== undefined || this.#byPath.size < MAX_PATHS) this.#byPath.set(path, (known ?? 0) + 1)
  }

  async #control (path: string, request: IncomingMessage, response: ServerResponse): Promise<void> {
    const call = `${request.method ?? ''} ${path}`
    if (call === 'GET /_demo/stats') return sendJson(response, 200, this.stats())
    if (call === 'POST /_demo/reset') {
      this.reset()
      return sendJson(response, 200, { faults: this.#faults })
    }
    if (call !== 'POST /_demo/faults') return sendJson(response, 404, { error: 'not found' })
    try {
      this.setFaults(parseFaults(await readJson(request)))
      sendJson(response, 200, { faults: this.#faults })
    } catch (error) {
      if (!(error instanceof FaultsError)) throw error
      sendJson(response, 400, { error: error.message })
    }
  }
}

function keyOf (path: string): ShardKey | undefined {
  try {
    return parseShardPath(path)
  } catch (error) {
    if (error instanceof RelayError) return undefined
    throw error
  }
}

async function readJson (request: IncomingMessage): Promise<unknown> {
  const pieces: Buffer[] = []
  let length = 0
  for await (const piece of request as AsyncIterable<Buffer>) {
    length += piece.length
    if (length > MAX_CONTROL_BYTES) throw new FaultsError(`the body exceeds ${MAX_CONTROL_BYTES} bytes`)
    pieces.push(piece)
  }
  try {
    return JSON.parse(Buffer.concat(pieces).toString())
  } catch {
    throw new FaultsError('the body is not JSON')
  }
}

/**
 * Starts an origin that misbehaves on demand.
 * @throws FaultsError, the file system's error for a media file, or the listen error (`EADDRINUSE`, …)
 */
export async function startSuperNode (options: SuperNodeOptions = {}): Promise<SuperNode> {
  const { host = '127.0.0.1', port = 0, region = 'NA-WEST' } = options
  const catalog = await Catalog.load(options.media ?? [])
  const node = new Origin(catalog, region, options)
  const server = createServer((request, response) => {
    node.handle(request, response).catch((error: unknown) => {
      process.stderr.write(`super-node ${region}: ${error instanceof Error ? error.message : String(error)}\n`)
      response.destroy()
    })
  })
  // Longer than the keep-alive of the relay's pools, so that it is never this side that closes an idle socket under a request.
  server.keepAliveTimeout = 65_000
  server.on('connection', (socket: Socket) => {
    node.sockets.add(socket)
    socket.once('close', () => node.sockets.delete(socket))
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, host, resolve)
  })
  const address = server.address() as AddressInfo
  return {
    url: `http://${address.family === 'IPv6' ? `[${address.address}]` : address.address}:${address.port}`,
    port: address.port,
    region,
    catalog: catalog.items,
    setFaults: faults => node.setFaults(faults),
    stats: () => node.stats(),
    reset: () => node.reset(),
    close: async () => {
      if (!server.listening) return
      const closed = new Promise<void>(resolve => { server.close(() => resolve()) })
      for (const socket of node.sockets) socket.destroy()
      await closed
    }
  }
}
