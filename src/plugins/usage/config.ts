import Type from 'typebox'
import { bytes, count, file, section } from '../../config/parts.ts'

/** Keys of `[usage]`. */
export const usageConfig = section({
  enabled: Type.Boolean({ default: false, description: 'count requests and bytes of each CID and of each subject of a token, hour by hour; the gateway then tells of every response, whatever the access log samples' }),
  path: file('file of the hours, a JSON object a line; empty is `usage-log.ndjson` in the directory of the cache'),
  max_bytes: bytes(67_108_864, 4_096, 'size at which it is renamed, with `.1` behind its name, and begun anew'),
  rows: count(1_000, 10_000, 'CIDs and subjects, of each the busiest, that an hour has rows for; the rest is in one row')
}, 'What was served, by CID and by subject: for accounts and for capacity, where metrics would have too many labels.')
