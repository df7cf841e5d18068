import Type from 'typebox'
import { bytes, count, ms, section } from '../../config/parts.ts'

/** Keys of `[transport]`. */
export const transportConfig = section({
  engine: Type.Union([Type.Literal('auto'), Type.Literal('quinn'), Type.Literal('fails'), Type.Literal('off')], { default: 'auto', description: 'HTTP/3 engine: auto is quinn, fails is the optional package of fails-components; off starts no gateway, viewers then have plain HTTP' }),
  glibc_shim: Type.Boolean({ default: true, description: 'on a glibc older than 2.38, load the quinn engine from a copy in cache.path that is changed to need no newer one' }),
  max_sessions: count(10_000, 1_000_000, 'viewer sessions at the same time'),
  max_sessions_per_ip: count(256, 1_000_000, 'viewer sessions of one address at the same time'),
  max_streams_per_session: count(256, 10_000, 'requests of one session under way at the same time'),
  handshake_timeout_ms: ms(5_000, 'time a handshake may take'),
  idle_timeout_ms: ms(60_000, 'silence after which a session is closed'),
  ram_bytes: bytes(67_108_864, 0, 'memory for hot objects inside the gateway process'),
  max_rss_bytes: bytes(1_610_612_736, 268_435_456, 'resident memory above which the gateway process is replaced'),
  heartbeat_ms: ms(250, 'how often the gateway process reports'),
  hang_ms: ms(3_000, 'silence of the gateway process after which it is killed')
}, 'WebTransport.')
