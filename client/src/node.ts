/** `icn-relay-client` in Node: the client with what Node needs and browsers have: an engine and a ponyfill. */
import { homedir } from 'node:os'
import { join } from 'node:path'
import type { NapiBinding } from '../../src/quinn/binding.ts'
import type { ErasureDecoder } from './erasure.ts'
import { wasmDecoder } from './erasure.ts'
import { nodePonyfill } from './node-ponyfill.ts'
import { ShardClient } from './shard-client.ts'
import type { ShardClientOptions } from './client-options.ts'
import { transportConnector } from './transport-session.ts'
import type { TransportDialler } from './transport-session.ts'

export * from './library.ts'
export { wasmDecoder } from './erasure.ts'
export { nodePonyfill } from './node-ponyfill.ts'
export { transportConnector } from './transport-session.ts'

/** Loads the erasure decoder. */
export async function nodeErasure (): Promise<ErasureDecoder> {
  const { newErasure } = await import('./node-erasure.ts')
  return wasmDecoder(newErasure, () => new Promise(resolve => { setImmediate(resolve) }))
}

let binding: NapiBinding | undefined

/** Opens HTTP/3 sessions with the quinn engine, loaded when it is first needed. Without hashes, authorities that Node trusts vouch for the relay. */
export const dialHttp3: TransportDialler = async ({ url, certificateHashes, signal }, opened) => {
  const [{ connectQuinn }, { engineFile, loadEngine }] = await Promise.all([import('./node-quinn.ts'), import('../../src/quinn/engine-file.ts')])
  binding ??= loadEngine(engineFile({ directory: engineDirectory(), shim: true, log: () => {} }))
  return await connectQuinn(binding, url, { certificateHashes, signal, opened })
}

/** Where an engine file is kept that had to be made for an older glibc (XDG Base Directory Specification). */
function engineDirectory (): string {
  const { XDG_CACHE_HOME: cache = '' } = process.env
  return join(cache === '' ? join(homedir(), '.cache') : cache, 'icn-relay', 'engine')
}

/**
 * Connects from Node; as {@link ShardClient.connect}.
 * @throws ShardClientError connect; or the reason of the signal
 */
export async function connect (relayUrl: string, options: ShardClientOptions = {}): Promise<ShardClient> {
  return await ShardClient.connect(relayUrl, {
    erasure: nodeErasure,
    websocket: nodePonyfill,
    webTransport: transportConnector(dialHttp3),
    ...options
  })
}
