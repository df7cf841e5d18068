/** `icn-relay-client` in browsers: fetches shards and videos from a relay. */
import type { ErasureDecoder } from './erasure.ts'
import { ShardClient } from './shard-client.ts'
import type { ShardClientOptions } from './client-options.ts'
import type { W3cWebTransportConstructor } from './w3c-types.ts'

export * from './library.ts'

/** Loads the WebTransport of fails-components that runs over WebSocket. */
async function ponyfill (): Promise<W3cWebTransportConstructor> {
  return (await import('../bundled/websocket.js')).WebTransportPonyfill
}

async function erasure (): Promise<ErasureDecoder> {
  return (await import('./browser-erasure.ts')).browserErasure()
}

/**
 * Connects from a browser; as {@link ShardClient.connect}, with WebSocket and the repair of videos, which are loaded when they are first needed.
 * @throws ShardClientError connect; or the reason of the signal
 */
export async function connect (relayUrl: string, options: ShardClientOptions = {}): Promise<ShardClient> {
  return await ShardClient.connect(relayUrl, { websocket: ponyfill, erasure, ...options })
}
