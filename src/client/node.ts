/** `icn-relay/client/node`: the client with what Node needs and browsers have: an engine, a ponyfill and the erasure decoder. */
import { readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { homedir } from 'node:os'
import { join } from 'node:path'
import type { NapiBinding } from '../quinn/binding.ts'
import type { ErasureDecoder, ReedSolomonWasm } from './erasure.ts'
import { wasmDecoder } from './erasure.ts'
import { nodePonyfill } from './node-ponyfill.ts'
import { ShardClient } from './shard-client.ts'
import type { ShardClientOptions } from './shard-client.ts'
import { transportConnector } from './transport-session.ts'
import type { TransportDialler } from './transport-session.ts'

export * from './index.ts'
export { nodePonyfill } from './node-ponyfill.ts'

const WASM_PACKAGE = '@digitaldefiance/reed-solomon-erasure.wasm'

/** Loads the erasure decoder from the installed package. The package's own loader uses `__dirname`, which modules lack. */
export async function nodeErasure (): Promise<ErasureDecoder> {
  const { ReedSolomonErasure } = await import(WASM_PACKAGE) as { ReedSolomonErasure: { fromBytes (bytes: Uint8Array): ReedSolomonWasm } }
  const wasm = await readFile(createRequire(import.meta.url).resolve(`${WASM_PACKAGE}/wasm`))
  return wasmDecoder(() => ReedSolomonErasure.fromBytes(wasm), () => new Promise((resolve) => { setImmediate(resolve) }))
}

let binding: NapiBinding | undefined

/** Opens HTTP/3 sessions with the quinn engine, loaded when it is first needed. Without hashes, authorities that Node trusts vouch for the relay. */
export const dialHttp3: TransportDialler = async ({ url, certificateHashes, signal }, opened) => {
  const [{ connectQuinn }, { engineFile, loadEngine }] = await Promise.all([import('./node-quinn.ts'), import('../quinn/engine-file.ts')])
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
