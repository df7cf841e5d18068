import Type from 'typebox'
import { count, explained, file, ms, section } from '../../config/parts.ts'

const HOST = '/(?:ip4|ip6|dns|dns4|dns6)/[A-Za-z0-9.:_-]{1,253}'
const Address = explained<string>({ type: 'string', pattern: `^${HOST}/tcp/[0-9]{1,5}$` }, 'must be a multiaddr like /ip4/0.0.0.0/tcp/9005')
const PeerAddress = explained<string>({ type: 'string', pattern: `^${HOST}/tcp/[0-9]{1,5}/p2p/[A-Za-z0-9]{32,128}$` }, 'must be a multiaddr with the id of its peer, like /dns4/super-1.example/tcp/9005/p2p/12D3KooW…')

/** Keys of `[p2p]`. */
export const p2pConfig = section({
  enabled: Type.Boolean({ default: false, description: 'whether super-nodes are looked for by libp2p as well; needs `trust.publishers`, and packages that are installed for it' }),
  listen: Type.Array(Address, { default: ['/ip4/0.0.0.0/tcp/9005'], maxItems: 8, description: 'multiaddrs to listen on; empty listens nowhere, and the relay is not advertised' }),
  announce: Type.Array(Address, { default: [], maxItems: 8, description: 'multiaddrs that others are told in place of those, behind NAT for example' }),
  bootstrap: Type.Array(PeerAddress, { default: [], maxItems: 32, description: 'peers to join by, connected to again whenever the connection is lost' }),
  key_file: file('Ed25519 private key that the peer id is made of, PKCS #8 in PEM; made at the first start. Empty is `p2p-key.pem` in the cache directory'),
  protocol: Type.String({ pattern: '^/[A-Za-z0-9._/-]{1,64}$', default: '/icn/kad/1.0.0', description: 'protocol of the DHT: peers of another one are not asked' }),
  lookup_timeout_ms: ms(2_000, 'time the DHT has to say who holds a CID'),
  max_connections: count(64, 1_024, 'connections to peers at the same time, incoming ones included'),
  record_max_age_s: Type.Integer({ minimum: 60, maximum: 31_536_000, default: 604_800, description: 'oldest `issuedAt` of a holder record that is believed, seconds' }),
  allow_private: Type.Boolean({ default: false, description: 'whether peers and holders may have addresses that are not public: loopback, private, link-local' })
}, 'Discovery by libp2p: who holds a CID, where no super-node has it; see docs/p2p.md.')
