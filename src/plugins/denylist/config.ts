import Type from 'typebox'
import { bytes, explained, file, live, section } from '../../config/parts.ts'

/** Keys of `[denylist]`. */
export const denylistConfig = section({
  file: live(file('file of what must not be served, an entry a line: a CID, a prefix and `*`, or `//` and the SHA-256 of `<CID>/` (docs/denylist.md); it is read at start and with every reload')),
  url: explained<string>({ type: 'string', pattern: '^$|^https?://[^#\\s]+$', maxLength: 2_048, default: '', description: 'list of the same format that is asked for again and again; its last good copy holds' }, 'must be an http or https URL'),
  interval_s: Type.Integer({ minimum: 10, maximum: 604_800, default: 3_600, description: 'how often `url` is asked, seconds' }),
  max_bytes: bytes(134_217_728, 1, 'longest list that is taken; a million hashed entries have 67 MB')
}, 'The denylist: what the relay must not serve, whoever asks for it.')
