import Type from 'typebox'
import { explained, file, live, section } from '../../config/parts.ts'

/** What a template may name: fields of a record, and two that the combined format has. */
export const LINE_FIELDS = [
  'time', 'clfTime', 'kind', 'reqId', 'remote', 'subject', 'transport', 'version', 'method', 'url', 'requestLine', 'object', 'range', 'status', 'code', 'complete', 'bytes', 'cache', 'superNode',
  'firstByteMs', 'ms', 'userAgent', 'referer', 'traceId'
] as const
export type LineField = typeof LINE_FIELDS[number]

/** Combined log format, as Apache and nginx have it; the time is UTC. */
export const COMBINED = '{remote} - {subject} [{clfTime}] "{requestLine}" {status} {bytes} "{referer}" "{userAgent}"'

/** A name in a template. */
export const NAMED_FIELD = /\{([^{}]*)\}/g

const share = (description: string) => Type.Number({ minimum: 0, maximum: 1, default: 1, description })

/** Keys of `[access_log]`. */
export const accessLogConfig = section({
  enabled: Type.Boolean({ default: true, description: 'whether a line is written for each response' }),
  format: Type.Union([Type.Literal('json'), Type.Literal('clf'), Type.Literal('template')], { default: 'json', description: '`clf` is the combined log format of Apache and nginx' }),
  template: explained<string>({ type: 'string', pattern: '^[\\x20-\\x7e]+$', maxLength: 2_048, default: COMBINED, description: 'the line of format `template`: text with `{name}` for fields; the combined format by default' }, 'must be one line of 1 to 2,048 ASCII characters'),
  path: file('file that lines are appended to; it is opened anew on SIGHUP and SIGUSR1; empty for standard output'),
  addresses: Type.Union([Type.Literal('full'), Type.Literal('prefix'), Type.Literal('hashed')], { default: 'full', description: 'how addresses of viewers are shown: as they are, as their network (/24, of IPv6 /48), or as a keyed hash' }),
  address_key_file: file('file with the key of hashed addresses, 16 bytes or more; empty for a random one of each start'),
  sample_hits: live(share('share of the hits that have a line, 0 to 1')),
  sample_misses: live(share('share of the misses that have one')),
  scrapes: live(Type.Boolean({ default: false, description: 'whether `/health`, `/ready`, `/metrics` and `/admin/v1/summary` have lines' }))
}, 'The access log: a line for each response, over whatever transport. Refused requests and broken responses are always written, at most 50 a second of each listener.')
