import Type from 'typebox'
import { bytes, section } from '../../config/parts.ts'

/** Keys of `[sizing]`. */
export const sizingConfig = section({
  enabled: Type.Boolean({ default: false, description: 'whether the relay moves `cache.max_bytes`, where it starts, between the two bounds below; what other capacities would bring is estimated in any case' }),
  min_bytes: bytes(1_073_741_824, 1, 'least bound of the cache'),
  max_bytes: bytes(1_099_511_627_776, 1, 'greatest bound of the cache'),
  keep_free_bytes: bytes(10_737_418_240, 0, 'free space of the disk that is not taken: with less, the cache shrinks; it grows by a tenth only while twice that stays free beside it'),
  gain_points: Type.Number({ minimum: 0.01, maximum: 100, default: 0.5, description: 'points (hundredths of what viewers ask for, in bytes) that a tenth more must bring for the cache to grow; with a quarter of that for the last tenth, it shrinks' }),
  interval_s: Type.Integer({ minimum: 1, maximum: 86_400, default: 600, description: 'time between two looks, seconds; three in a row make it grow, twelve shrink for want of use' })
}, 'The size of the cache, by what more or less of it would bring ("Capacity planning").')
