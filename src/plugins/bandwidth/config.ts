import Type from 'typebox'
import { bps, bytes, section } from '../../config/parts.ts'

const Rung = Type.Object({
  rendition: Type.String({ pattern: '^[A-Za-z0-9._-]{1,32}$' }),
  min_bps: Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER })
}, { additionalProperties: false })

const DEFAULT_LADDER = [{ rendition: '480p', min_bps: 1_000_000 }, { rendition: '720p', min_bps: 2_500_000 }, { rendition: '1080p', min_bps: 5_000_000 }]

/** Keys of `[bandwidth]`. */
export const bandwidthConfig = section({
  total_bps: bps('budget for all viewers, bits per second; 0 is unlimited'),
  viewer_cap_bps: bps('what one viewer gets at most, bits per second; 0 is unlimited'),
  viewer_floor_bps: bps('what one viewer gets before the rest is shared by weight, bits per second; all floors shrink alike when the budget cannot carry them'),
  burst_bytes: bytes(0, 0, 'what may be sent in one burst after a calm time; 0 chooses by the budget'),
  weights: Type.Record(Type.String({ pattern: '^[A-Za-z0-9_-]{1,32}$' }), Type.Number({ minimum: 0.01, maximum: 1_000 }), { additionalProperties: false, default: { default: 1 }, maxProperties: 64, description: 'weight of each class of viewers: a viewer of weight 2 gets twice the share of one of weight 1; `default` is for viewers without a class, and for classes not named here' }),
  ladder: Type.Array(Rung, { default: DEFAULT_LADDER, minItems: 1, maxItems: 16, description: 'renditions and the share each needs, bits per second, rising; viewers are told the best that fits, the first when none does' })
}, 'Bandwidth shared by viewers.', { live: true })
