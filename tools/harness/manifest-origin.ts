/** Super-nodes with manifests, honest and lying ones. */
import { createHash } from 'node:crypto'
import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { parseShardPath, type ShardKey } from '../../src/protocol/shard-key.ts'
import { formatReprDigest } from '../../src/protocol/repr-digest.ts'

export interface ManifestOriginOptions {
  readonly region: string
  /** The bytes of an object; undefined answers 404. */
  readonly object: (key: ShardKey) => Uint8Array | undefined
  /** Time before each answer, ms. */
  readonly delayMs?: number
  /** Whether `repr-digest` of what is sent goes with it. */
  readonly digest?: boolean
  /** Whether the length goes with it; it does by default. */
  readonly length?: boolean
}

export interface ManifestOrigin {
  readonly url: string
  readonly region: string
  /** `host:port`, as the relay names it. */
  readonly id: string
  /** Objects that were asked for, in order. */
  readonly asked: readonly ShardKey[]
  close (): Promise<void>
}

function send (response: ServerResponse, bytes: Uint8Array, { digest = false, length = true }: ManifestOriginOptions): void {
  response.writeHead(200, {
    'content-type': 'application/octet-stream',
    ...digest ? { 'repr-digest': formatReprDigest(createHash('sha256').update(bytes).digest('hex')) } : {},
    ...length ? { 'content-length': bytes.length } : {}
  })
  response.end(bytes)
}

/** Starts a super-node that has what `object` says. */
export async function startManifestOrigin (options: ManifestOriginOptions): Promise<ManifestOrigin> {
  const asked: ShardKey[] = []
  const server = createServer((request, response) => {
    const answer = async (): Promise<void> => {
      // As a super-node and as a relay.
      if (request.url === '/health' || request.url === '/v1/transport') {
        response.end()
        return
      }
      const key = parseShardPath(request.url ?? '')
      asked.push(key)
      if (options.delayMs !== undefined) await delay(options.delayMs)
      const bytes = options.object(key)
      if (bytes !== undefined) send(response, bytes, options)
      else response.writeHead(404).end()
    }
    answer().catch(() => { response.destroy() })
  })
  await new Promise<void>(resolve => { server.listen(0, '127.0.0.1', resolve) })
  const { port } = server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${port}`,
    region: options.region,
    id: `127.0.0.1:${port}`,
    asked,
    close: async () => {
      const closed = new Promise<void>(resolve => { server.close(() => { resolve() }) })
      server.closeAllConnections()
      await closed
    }
  }
}
