import { bytes, file, section } from '../../config/parts.ts'

/** Keys of `[audit]`. */
export const auditConfig = section({
  path: file('file of who changed what over the admin API, a JSON object a line; empty is `audit-log.ndjson` in the directory of the cache'),
  max_bytes: bytes(16_777_216, 4_096, 'size at which it is renamed, with `.1` behind its name, and begun anew')
}, 'The record of who changed what.')
