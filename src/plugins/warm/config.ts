import Type from 'typebox'
import { explained, ms, section } from '../../config/parts.ts'

/** Objects that a job brings in at the same time, at most: of 256 fills that is a small part, and one super-node still serves others. */
export const MAX_CONCURRENCY = 16

/** Keys of `[warm]`. */
export const warmConfig = section({
  concurrency: Type.Integer({ minimum: 1, maximum: MAX_CONCURRENCY, default: 4, description: 'objects that a warm job brings in at the same time, unless it says so itself' }),
  feed: section({
    url: explained<string>({ type: 'string', pattern: '^(?:https?://[^/?#@]+(?:/[^#]*)?)?$', maxLength: 2_048, default: '', description: 'where a super-node lists what is newly published, such as http://super-1.example:9002/recent; empty reads none' }, 'must be a URL, http or https, without user and fragment'),
    interval_ms: ms(60_000, 'how often it is read, with a tenth of jitter; less often while it cannot be'),
    max_age_ms: Type.Integer({ minimum: 1, maximum: 31_536_000_000, default: 86_400_000, unit: 'time', description: 'videos that were published longer ago are left to viewers, milliseconds' })
  }, 'The feed: newly published videos are warmed before viewers ask for them.')
}, 'Warm jobs: videos are brought into the cache before viewers ask for them.')
