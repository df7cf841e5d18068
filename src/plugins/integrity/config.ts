import Type from 'typebox'
import { count, explained, ms, section } from '../../config/parts.ts'

/** 32 bytes in base64, in their one spelling. */
const PublisherKey = explained<string>({ type: 'string', pattern: '^[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=$' }, 'must be the 32 bytes of an Ed25519 public key in base64')

/** Keys of `[trust]`. */
export const trustConfig = section({
  publishers: Type.Array(PublisherKey, { default: [], maxItems: 64, description: 'Ed25519 public keys, the raw 32 bytes in base64: a manifest is believed when one of them signed it; empty believes what `quorum` witnesses agree on' }),
  quorum: count(2, 16, 'witnesses that must have the same manifest, byte for byte, while `publishers` is empty: super-nodes of one `operator`, or of one region where none is named, are one; 1 believes the first super-node that answers'),
  manifest_timeout_ms: ms(3_000, 'time super-nodes have to send a manifest that is believed; the last byte of an object waits for it, and the object is unverified when there is none'),
  unverified: Type.Union([Type.Literal('serve'), Type.Literal('refuse')], { default: 'serve', description: 'what becomes of an object that no believed manifest vouches for: `serve` serves it for a minute of caching and without digest, `refuse` answers 502' }),
  manifest_max_age_s: Type.Integer({ minimum: 0, maximum: 315_360_000, default: 0, description: 'oldest `createdAt` of a manifest that is believed, seconds; one without it is then refused. 0 takes any age' })
}, 'Whose manifests are believed; see `cache.integrity`.')
