import Type from 'typebox'
import { count, section } from '../../config/parts.ts'

/** Keys of `[prefetch]`. */
export const prefetchConfig = section({
  enabled: Type.Boolean({ default: true, description: 'whether what a viewer will ask for next is brought in before; see docs/prefetch.md' }),
  concurrency: count(4, 64, 'objects brought in ahead at the same time; one that a viewer has asked for meanwhile does not count any more'),
  max_bps: Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER, default: 200_000_000, description: 'what may be brought in ahead, bits per second on average, with one second of it or one object in a burst; 0 for any amount' }),
  max_depth: count(8, 10, 'objects brought in ahead of one request at most; how many there are follows from how many are used')
}, 'Prefetch: what a viewer will ask for next is fetched before, into room that nobody misses, and after everything that viewers wait for.')
