import { X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Socket } from 'node:net'
import type { WebTransport as LibraryWebTransport } from '@fails-components/webtransport'
import { Agent, WebSocket as UndiciWebSocket } from 'undici'
import { loadLibrary } from '../../src/gateway/transports/fails/library.ts'
import type { ContractClient, ContractTarget } from './viewer-transport.ts'
import { w3cClient } from './w3c-client.ts'

type Construct = new (url: string, options: Record<string, unknown>) => LibraryWebTransport

/** Windows of the client: the library's 16 KiB would make each MB wait for 64 round trips. */
const CLIENT_OPTIONS = {
  initialStreamFlowControlWindow: 1_048_576,
  initialSessionFlowControlWindow: 4_194_304,
  // The ponyfill takes these for granted, 100 by default, and the server closes a session that goes beyond its limit; from
  // one on, the limit that the server announces counts.
  initialBidirectionalSendStreams: 1,
  initialUnidirectionalSendStreams: 16
}

/** A hop between one client and the listener: the library's clients read without bound, and cannot lose a connection. */
async function hop (port: number): Promise<{ port: number, stall: () => () => void, lose: () => void, free: () => void }> {
  const sockets: Socket[] = []
  const server = createServer(near => {
    const far = connect({ host: '127.0.0.1', port, noDelay: true })
    near.setNoDelay(true)
    sockets.push(near, far)
    near.on('error', () => {}).on('close', () => { far.destroy() })
    far.on('error', () => {}).on('close', () => { near.end() })
    near.pipe(far).pipe(near)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    port: (server.address() as AddressInfo).port,
    stall: () => {
      for (const socket of sockets) socket.pause()
      return () => { for (const socket of sockets) socket.resume() }
    },
    lose: () => { for (const socket of sockets) socket.destroy() },
    free: () => { server.close() }
  }
}

/** What the browser's WebSocket of the next connection trusts; a browser has a store for it. */
let trusted: string | undefined

class PinnedWebSocket extends UndiciWebSocket {
  constructor (url: string, protocols: string[]) {
    super(url, { protocols, dispatcher: new Agent({ connect: { ca: trusted ?? '' } }) })
  }
}

let ponyfill: Promise<Construct> | undefined

/** The browser half of the library, which its package exports hide from Node, and the globals it expects there. */
function loadPonyfill (): Promise<Construct> {
  ponyfill ??= (async () => {
    Object.assign(globalThis, { WebSocket: PinnedWebSocket })
    if (!('navigator' in globalThis)) Object.assign(globalThis, { navigator: {} })
    const node = import.meta.resolve('@fails-components/webtransport')
    const module = await import(new URL('./index.browser.js', node).href) as { WebTransportPonyfill: Construct }
    return module.WebTransportPonyfill
  })()
  return ponyfill
}

/** Dials as a browser does: the library's ponyfill over a WebSocket. */
export async function connectPonyfill (target: ContractTarget): Promise<ContractClient> {
  const WebTransportPonyfill = await loadPonyfill()
  return await dial(target, url => {
    trusted = target.cert
    return new WebTransportPonyfill(url, CLIENT_OPTIONS)
  })
}

/** Dials as the library's Node client does: HTTP/2 CONNECT with capsules. */
export async function connectCapsules (target: ContractTarget): Promise<ContractClient> {
  const WebTransport = await loadNodeClient()
  return await dial(target, url => new WebTransport(url, { ...CLIENT_OPTIONS, ...pinned(target.cert), forceReliable: true, quicConnectTimeout: 2_000 }))
}

/** Dials HTTP/3 with the library's native client, which needs its optional package. */
export async function connectLibraryHttp3 (target: ContractTarget): Promise<ContractClient> {
  const WebTransport = await loadNodeClient()
  const transport = new WebTransport(`https://127.0.0.1:${target.port}${target.path}`, { ...CLIENT_OPTIONS, ...pinned(target.cert), requireUnreliable: true })
  transport.closed.catch(() => {})
  return await w3cClient(transport)
}

async function loadNodeClient (): Promise<Construct> {
  await loadLibrary()
  const { WebTransport } = await import('@fails-components/webtransport')
  return WebTransport
}

function pinned (cert: string): Record<string, unknown> {
  const value = new Uint8Array(Buffer.from(new X509Certificate(cert).fingerprint256.replaceAll(':', ''), 'hex'))
  return { serverCertificateHashes: [{ algorithm: 'sha-256', value }] }
}

async function dial (target: ContractTarget, create: (url: string) => LibraryWebTransport): Promise<ContractClient> {
  const through = await hop(target.port)
  const transport = create(`https://127.0.0.1:${through.port}${target.path}`)
  transport.closed.then(through.free, through.free)
  const client = await w3cClient(transport)
  return Object.assign(client, { lose: through.lose, stall: through.stall })
}
