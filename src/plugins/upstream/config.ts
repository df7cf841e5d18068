import Type from 'typebox'
import { bytes, count, ms, OriginUrl, Region, section } from '../../config/parts.ts'

const Operator = Type.Optional(Type.String({ pattern: '^[A-Za-z0-9._-]{1,64}$' }))

const SuperNode = Type.Object({
  url: OriginUrl,
  region: Region,
  role: Type.Optional(Type.Union([Type.Literal('origin'), Type.Literal('relay')])),
  operator: Operator
}, { additionalProperties: false })

const Sibling = Type.Object({
  url: OriginUrl,
  region: Region
}, { additionalProperties: false })

const DnsName = Type.Object({
  dns: Type.String({ pattern: '^[A-Za-z0-9_-]{1,63}([.][A-Za-z0-9_-]{1,63}){0,126}$', maxLength: 253 }),
  type: Type.Union([Type.Literal('SRV'), Type.Literal('A'), Type.Literal('AAAA')]),
  scheme: Type.Optional(Type.Union([Type.Literal('http'), Type.Literal('https')])),
  port: Type.Optional(Type.Integer({ minimum: 1, maximum: 65_535 })),
  region: Region,
  role: Type.Optional(Type.Union([Type.Literal('origin'), Type.Literal('relay')])),
  operator: Operator
}, { additionalProperties: false })

/** Those of `[upstream]` that name super-nodes; what becomes of them is in `sources/configured.ts`. */
export const NODE_KEYS = ['super_nodes', 'dns'] as const

/** Keys of `[upstream]`. */
export const upstreamConfig = section({
  super_nodes: Type.Array(SuperNode, { live: true, default: [{ url: 'http://127.0.0.1:9002', region: 'NA-WEST' }], maxItems: 64, description: 'origins, each with its region; `role = "relay"` marks a relay of the tier above; `operator` says who runs it, see `trust.quorum`' }),
  dns: Type.Array(DnsName, { default: [], maxItems: 16, description: 'more super-nodes by DNS: `{ dns = "_relay._tcp.example.org", type = "SRV", region = "EU-WEST" }`, or `type = "A"` or `"AAAA"` with `port` (9002 by default); `scheme` is `"http"` (default) or, with SRV, `"https"`' }),
  dns_servers: Type.Array(Type.String({ maxLength: 64 }), { default: [], maxItems: 8, description: 'name servers for `dns`, an address with or without a port: `"10.0.0.53"`, `"127.0.0.1:5353"`, `"[2001:db8::53]:53"`; empty means those of the host' }),
  siblings: Type.Array(Sibling, { default: [], maxItems: 64, description: 'public URLs of the relays of our tier, `{ url, region }`; a missing object is first asked for at the one that rendezvous hashing names' }),
  self_url: Type.String({ pattern: '^(https?://[^/?#@]+/?)?$', maxLength: 300, default: '', description: 'our own public URL as the siblings have it in their lists' }),
  relay_id: Type.String({ pattern: '^[A-Za-z0-9._-]{0,64}$', default: '', description: 'our name in the `via` header, behind `icn-relay-`; empty makes one of host name and chance at every start' }),
  max_hops: count(4, 16, 'a request with as many `via` members is refused with 508'),
  shard_path: Type.String({ pattern: '^/[!-~]*$', default: '/shards/{cid}/shard_{nn}.bin', description: 'path of a shard; {cid}, {n}, {nn} (two digits) are replaced' }),
  manifest_path: Type.String({ pattern: '^/[!-~]*$', default: '/shards/{cid}/manifest.json', description: 'path of a manifest; {cid} is replaced' }),
  connections_per_node: count(64, 4_096, 'connections to one super-node at the same time, besides one for its health checks'),
  connect_timeout_ms: ms(500, 'time to connect to a super-node'),
  headers_timeout_ms: ms(1_000, 'time a super-node has to start its answer'),
  first_byte_timeout_ms: ms(500, 'time until some super-node has answered, whatever number of them was asked; then 504'),
  hedge_min_ms: ms(20, 'shortest time a super-node has before a second one is asked beside it'),
  hedge_max_ms: ms(100, 'longest time a super-node has before a second one is asked beside it; the time of one without samples; a relay has half of first_byte_timeout_ms if that is more'),
  hedge_budget_percent: Type.Integer({ minimum: 0, maximum: 100, default: 10, description: 'further requests beside late ones, per cent of all; 0 switches them off' }),
  hedge_burst: count(20, 10_000, 'further requests that may come together after a calm time'),
  hedge_max_parallel: count(3, 16, 'super-nodes asked at the same time for one object'),
  body_timeout_ms: ms(5_000, 'longest silence in the middle of a body, and the time over which least_body_bps is taken'),
  least_body_bps: Type.Integer({ minimum: 0, maximum: 1_000_000_000, default: 65_536, description: 'what the body of a super-node must bring, bits per second; a slower one is given up and goes on from another. 0 takes any pace' }),
  fill_timeout_ms: ms(120_000, 'longest time one object may take'),
  max_fills: count(512, 65_536, 'objects fetched at the same time; more misses are refused with 503, unless an object that nobody waits for can make room'),
  max_object_bytes: bytes(16_777_216, 1, 'largest shard taken from a super-node'),
  max_manifest_bytes: bytes(1_048_576, 1, 'largest manifest taken from a super-node'),
  backoff_initial_ms: ms(1_000, 'first pause of a failed super-node; doubles with every failure'),
  backoff_max_ms: ms(60_000, 'longest pause of a failed super-node'),
  health_interval_ms: ms(10_000, 'time between health checks of a super-node that is up, ±20 %; one that fails them is checked by the back-off'),
  health_timeout_ms: ms(1_000, 'time a super-node has to answer a health check'),
  circuit_failures: count(3, 1_000, 'failures in a row, of requests or of health checks, after which a super-node is asked last'),
  circuit_window_ms: ms(10_000, 'rolling window in which circuit_error_ratio and success rates are taken'),
  circuit_error_ratio: Type.Number({ minimum: 0.01, maximum: 1, default: 0.5, description: 'share of failures in the window, of 10 requests or more, from which a super-node is asked last' }),
  ramp_ms: ms(30_000, 'time in which a super-node that is back takes up its full share of requests again'),
  eject_max_percent: Type.Integer({ minimum: 0, maximum: 100, default: 50, description: 'largest share of the super-nodes set aside for being much worse than the others, percent; the last usable one never is, 0 switches it off' }),
  negative_ttl_ms: Type.Integer({ minimum: 0, maximum: 60_000, default: 1_000, unit: 'time', description: 'time for which an object no super-node has is taken for missing, milliseconds; 0 asks every time' })
}, 'Super-nodes and how they are asked.')
