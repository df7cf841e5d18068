import { createHash, createPrivateKey, createPublicKey } from 'node:crypto'
import { isIP } from 'node:net'
import type { KadDHT } from '@libp2p/kad-dht'
import type { Multiaddr } from '@multiformats/multiaddr'
import type { Libp2p } from 'libp2p'
import { isPublicAddress } from '../../base/private-address.ts'
import { HolderRecordError, type HolderFault, type HolderRecord } from '../../protocol/holder-record.ts'
import { isCid } from '../../protocol/shard-key.ts'
import { BoundedDatastore } from './bounded-datastore.ts'
import type { Libp2pModules } from './load-libp2p.ts'
import type { P2pSettings } from './p2p-messages.ts'
import { newestRecord } from './verify-holder-record.ts'

export interface P2pNodeOptions extends P2pSettings {
  /** @throws HolderRecordError */
  readonly verify: (bytes: Uint8Array, cid: string) => HolderRecord
  /** Told of each record that a peer sent and that is not believed. */
  readonly refused: (cid: string, fault: HolderFault, detail: string) => void
}

interface Services extends Record<string, unknown> { readonly dht: KadDHT }

/** Namespace of holder records: the record of a CID is at `/icn/<CID>`. */
export const NAMESPACE = 'icn'
/** Protocol streams of one connection at the same time, each way. */
const MAX_STREAMS = 64
/** Connections that are being made, ours and of others. */
const MAX_DIALS = 16
const MAX_INCOMING = 10
/** New connections of one address in a second. */
const CONNECTIONS_PER_SECOND = 5
const DIAL_TIMEOUT_MS = 5_000
const MAX_ADDRESSES_OF_PEER = 8
/** First pause before a neighbour in the DHT that was lost is connected to again; it doubles, ms. */
const RECONNECT_MS = 1_000

const PKCS8_ED25519 = Buffer.from('302e020100300506032b657004220420', 'hex')
const RAW_CODEC = 0x55
const SHA2_256 = 0x12

/** As libp2p takes it: the seed, and the public key behind it. */
function rawKey (seed: Uint8Array): Uint8Array {
  const privateKey = createPrivateKey({ key: Buffer.concat([PKCS8_ED25519, seed]), format: 'der', type: 'pkcs8' })
  return Buffer.concat([seed, Buffer.from(createPublicKey(privateKey).export({ format: 'jwk' }).x ?? '', 'base64url')])
}

const recordKey = (cid: string): Uint8Array => Buffer.from(`/${NAMESPACE}/${cid}`)

/** The CID of a key; '' for a key that names none, and then every record is of another one. */
function cidOfKey (key: Uint8Array): string {
  const cid = Buffer.from(key).toString().slice(NAMESPACE.length + 2)
  return isCid(cid) ? cid : ''
}

/** A client of the DHT: it asks and is advertised, and keeps nothing for others. Everything it is told is checked. */
export class P2pNode {
  readonly #modules: Libp2pModules
  readonly #options: P2pNodeOptions
  readonly #libp2p: Libp2p<Services>

  private constructor (modules: Libp2pModules, options: P2pNodeOptions, libp2p: Libp2p<Services>) {
    this.#modules = modules
    this.#options = options
    this.#libp2p = libp2p
  }

  /** @throws what libp2p throws when it cannot listen */
  static async start (modules: Libp2pModules, options: P2pNodeOptions): Promise<P2pNode> {
    const { listen, announce, bootstrap, protocol, maxConnections, allowPrivate, verify, refused, version } = options
    const named = new Set(bootstrap)
    const mayDial = (address: Multiaddr): boolean => {
      if (allowPrivate || named.has(address.toString())) return true
      const [, host = ''] = /^\/ip[46]\/([^/]+)\/tcp\//.exec(address.toString()) ?? []
      return isIP(host) > 0 && isPublicAddress(host)
    }
    const check = async (key: Uint8Array, value: Uint8Array): Promise<void> => {
      const cid = cidOfKey(key)
      try {
        verify(value, cid)
      } catch (error) {
        if (error instanceof HolderRecordError) refused(cid, error.fault, error.message)
        throw error
      }
    }
    const streams = { maxInboundStreams: MAX_STREAMS, maxOutboundStreams: MAX_STREAMS }
    const libp2p: Libp2p<Services> = await modules.createLibp2p({
      privateKey: modules.privateKeyFromRaw(rawKey(options.seed)),
      nodeInfo: { name: 'icn-relay', version, userAgent: `icn-relay/${version}` },
      datastore: new BoundedDatastore(),
      addresses: { listen: [...listen], announce: [...announce] },
      transports: [modules.tcp({ maxConnections, dialOpts: { noDelay: true } })],
      connectionEncrypters: [modules.noise()],
      streamMuxers: [modules.yamux(streams)],
      connectionGater: { denyDialMultiaddr: address => !mayDial(address) },
      connectionManager: {
        maxConnections,
        maxParallelDials: MAX_DIALS,
        maxPeerAddrsToDial: MAX_ADDRESSES_OF_PEER,
        dialTimeout: DIAL_TIMEOUT_MS,
        inboundConnectionThreshold: CONNECTIONS_PER_SECOND,
        maxIncomingPendingConnections: MAX_INCOMING,
        // Its defaults are lost on the way (2.10), and it would try again without a pause.
        reconnectRetries: 5,
        reconnectRetryInterval: RECONNECT_MS,
        reconnectBackoffFactor: 2
      },
      services: {
        identify: modules.identify(),
        ping: modules.ping(),
        dht: modules.kadDHT({
          protocol,
          clientMode: true,
          peerInfoMapper: allowPrivate ? modules.passthroughMapper : modules.removePrivateAddressesMapper,
          validators: { [NAMESPACE]: check },
          selectors: { [NAMESPACE]: (key, records) => newestRecord(records, bytes => verify(bytes, cidOfKey(key))) }
        })
      }
    })
    return new P2pNode(modules, options, libp2p)
  }

  get peerId (): string { return this.#libp2p.peerId.toString() }
  get addresses (): string[] { return this.#libp2p.getMultiaddrs().map(String) }

  /** Each peer once, whatever number of connections there are. */
  get peers (): { id: string, address: string }[] {
    const byId = new Map(this.#libp2p.getConnections().map(connection => [connection.remotePeer.toString(), connection.remoteAddr.toString()]))
    return [...byId].map(([id, address]) => ({ id, address }))
  }

  /** Calls `listener` whenever a peer comes or goes, or our addresses change. */
  onChange (listener: () => void): void {
    for (const event of ['connection:open', 'connection:close', 'self:peer:update'] as const) this.#libp2p.addEventListener(event, listener)
  }

  /** Connects to the bootstrap peers that are not connected. Resolves with why it failed, by address. */
  async join (signal: AbortSignal): Promise<Map<string, string>> {
    const connected = new Set(this.#libp2p.getPeers().map(String))
    const failed = new Map<string, string>()
    await Promise.all(this.#options.bootstrap.map(async address => {
      if (connected.has(address.split('/').at(-1) ?? '')) return
      try {
        await this.#libp2p.dial(this.#modules.multiaddr(address), { signal: AbortSignal.any([signal, AbortSignal.timeout(DIAL_TIMEOUT_MS)]) })
      } catch (error) {
        failed.set(address, error instanceof Error ? error.message : String(error))
      }
    }))
    return failed
  }

  /** The believed records of a CID as peers send them, not in the order of their age. @throws what libp2p throws, when the signal aborts among others */
  async * records (cid: string, signal: AbortSignal): AsyncGenerator<HolderRecord> {
    const { verify, refused } = this.#options
    for await (const event of this.#libp2p.services.dht.get(recordKey(cid), { signal })) {
      if (event.name !== 'PEER_RESPONSE' || event.record === undefined) continue
      try {
        // What a peer sends under the key of another CID was compared with that one.
        yield verify(event.record.value, cid)
      } catch (error) {
        if (!(error instanceof HolderRecordError)) throw error
        refused(cid, error.fault, error.message)
      }
    }
  }

  /** Tells the peers that are closest to a text that we provide it; resolves with the number of those that were told. */
  async provide (text: string, signal: AbortSignal): Promise<number> {
    let told = 0
    for await (const event of this.#libp2p.services.dht.provide(this.#cidOf(text), { signal })) {
      if (event.name === 'PEER_RESPONSE' && event.messageName === 'ADD_PROVIDER') told++
    }
    return told
  }

  /** Tells nobody any more; who was told forgets it after a day or two. */
  async unprovide (text: string): Promise<void> {
    await this.#libp2p.services.dht.cancelReprovide(this.#cidOf(text))
  }

  async stop (): Promise<void> {
    await this.#libp2p.stop()
  }

  #cidOf (text: string): InstanceType<Libp2pModules['CID']> {
    const digest = createHash('sha256').update(text).digest()
    return this.#modules.CID.createV1(RAW_CODEC, this.#modules.Digest.create(SHA2_256, digest))
  }
}
