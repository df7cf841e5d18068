import { generateKeyPairSync } from 'node:crypto'
import { loadLibp2p } from '../../src/plugins/p2p/load-libp2p.ts'
import { NAMESPACE } from '../../src/plugins/p2p/p2p-node.ts'
import { newestRecord, verifyHolderRecord, type HolderPolicy } from '../../src/plugins/p2p/verify-holder-record.ts'
import { publisherKeys } from '../../src/plugins/integrity/publisher-signature.ts'
import { holderRecordBytes, type CidHolder } from '../../src/protocol/holder-record.ts'
import { DEMO_PUBLIC_KEY, signText } from './manifest.ts'

export interface DhtServerOptions {
  /** Multiaddr. */
  readonly listen: string
  /** Multiaddrs of peers to join by. */
  readonly peers: readonly string[]
  /** Throws for a record that is not to be kept for others. */
  readonly verify: (bytes: Uint8Array, cid: string) => { readonly issuedAt: number }
}

/** A peer that keeps records for others, as a super-node runs it. */
export interface DhtServer {
  /** Multiaddrs with the id of the peer. */
  readonly addresses: readonly string[]
  /** Keeps a record, and gives it to the peers that are closest to its CID. */
  put (cid: string, bytes: Uint8Array): Promise<void>
  close (): Promise<void>
}

/** The same as in relays by default. */
const PROTOCOL = '/icn/kad/1.0.0'
/** Peers that join later are given the records then, ms. */
const REPUBLISH_MS = 10_000
const PUT_MS = 5_000
const VALID_MS = 86_400_000

/** @throws what libp2p throws when it cannot listen, or a peer is out of reach */
export async function startDhtServer ({ listen, peers, verify }: DhtServerOptions): Promise<DhtServer> {
  const modules = await loadLibp2p()
  const { d = '', x = '' } = generateKeyPairSync('ed25519').privateKey.export({ format: 'jwk' })
  const cidOf = (key: Uint8Array): string => Buffer.from(key).toString().slice(NAMESPACE.length + 2)
  const libp2p = await modules.createLibp2p({
    privateKey: modules.privateKeyFromRaw(Buffer.concat([Buffer.from(d, 'base64url'), Buffer.from(x, 'base64url')])),
    addresses: { listen: [listen] },
    transports: [modules.tcp()],
    connectionEncrypters: [modules.noise()],
    streamMuxers: [modules.yamux()],
    // Its defaults are lost on the way (2.10).
    connectionManager: { reconnectRetryInterval: 1_000, reconnectBackoffFactor: 2 },
    services: {
      identify: modules.identify(),
      ping: modules.ping(),
      dht: modules.kadDHT({
        protocol: PROTOCOL,
        clientMode: false,
        allowQueryWithZeroPeers: true,
        peerInfoMapper: modules.passthroughMapper,
        validators: { [NAMESPACE]: async (key, value) => { verify(value, cidOf(key)) } },
        selectors: { [NAMESPACE]: (key, records) => newestRecord(records, bytes => verify(bytes, cidOf(key))) }
      })
    }
  })
  for (const peer of peers) await libp2p.dial(modules.multiaddr(peer))
  return {
    addresses: libp2p.getMultiaddrs().map(String),
    put: async (cid, bytes) => {
      for await (const event of libp2p.services.dht.put(Buffer.from(`/${NAMESPACE}/${cid}`), bytes, { signal: AbortSignal.timeout(PUT_MS) })) void event
    },
    close: async () => { await libp2p.stop() }
  }
}

export interface PublishedHolder extends Pick<DhtServerOptions, 'listen' | 'peers'> {
  readonly cids: readonly string[]
  readonly holder: CidHolder
}

/** Serves the DHT, and says there who holds these CIDs, signed with the demo key. @throws as {@link startDhtServer} */
export async function publishHolder ({ listen, peers, cids, holder }: PublishedHolder): Promise<DhtServer> {
  const policy: HolderPolicy = { publishers: publisherKeys([DEMO_PUBLIC_KEY]), maxAgeMs: VALID_MS }
  const server = await startDhtServer({ listen, peers, verify: (bytes, cid) => verifyHolderRecord(bytes, cid, policy, Date.now()) })
  const publish = async (): Promise<void> => {
    const issuedAt = Date.now()
    for (const cid of cids) await server.put(cid, holderRecordBytes({ cid, holders: [holder], issuedAt, expiresAt: issuedAt + VALID_MS }, signText)).catch(() => {})
  }
  await publish()
  const republishing = setInterval(() => { void publish() }, REPUBLISH_MS)
  return {
    ...server,
    close: async () => {
      clearInterval(republishing)
      await server.close()
    }
  }
}
