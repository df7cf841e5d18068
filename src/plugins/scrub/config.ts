import Type from 'typebox'
import { bytes, section } from '../../config/parts.ts'

/** Keys of `[scrub]`. */
export const scrubConfig = section({
  bytes_per_second: bytes(4_194_304, 0, 'how fast cached files are read to verify them, of the disk of the cache; 0 reads none. The default takes three days for 1 TB'),
  interval_s: Type.Integer({ minimum: 1, maximum: 31_536_000, default: 604_800, description: 'from the start of one pass over the cache to the start of the next, seconds; one that takes longer is followed by the next' })
}, 'The scrub: cached files are verified in the background, and those that have changed on the disk are evicted.')
