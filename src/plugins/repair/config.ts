import Type from 'typebox'
import { count, ms, section } from '../../config/parts.ts'

/** Keys of `[repair]`. */
export const repairConfig = section({
  enabled: Type.Boolean({ default: true, description: 'whether a shard that no super-node delivers is rebuilt from ten others of its video' }),
  concurrency: count(4, 32, 'shards rebuilt at the same time, each in about 6 MB of memory; 64 more may wait, and beyond those the answer is 503'),
  timeout_ms: ms(30_000, 'time one repair has from its beginning to its last byte, within upstream.fill_timeout_ms')
}, 'Repair: with cache.integrity = "manifest", shards that no super-node delivers are rebuilt from ten of their thirteen siblings, for which the manifest must be believed.')
