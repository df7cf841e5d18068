import type { AccessRecord } from '../../channel/access-record.ts'
import { NAMED_FIELD, type LineField } from './config.ts'
import { escaped } from './escape.ts'
import { shownMs } from './json-line.ts'
import { clfTime, isoTime } from './line-time.ts'

type FieldText = (record: AccessRecord, remote: string) => string | number | boolean | undefined

const FIELDS: Readonly<Record<LineField | keyof AccessRecord, FieldText>> = {
  time: ({ time }) => isoTime(time),
  clfTime: ({ time }) => clfTime(time),
  kind: ({ kind }) => kind,
  reqId: ({ reqId }) => reqId,
  remote: (_record, remote) => remote,
  subject: ({ subject }) => subject,
  transport: ({ transport }) => transport,
  version: ({ version }) => version,
  method: ({ method }) => method,
  url: ({ url }) => url,
  requestLine: ({ method, url, version }) => `${method} ${url} HTTP/${version ?? '1.1'}`,
  object: ({ object }) => object,
  range: ({ range }) => range,
  status: ({ status }) => status,
  code: ({ code }) => code,
  complete: ({ complete }) => complete,
  bytes: ({ bytes }) => bytes,
  cache: ({ cache }) => cache,
  superNode: ({ superNode }) => superNode,
  firstByteMs: ({ firstByteMs }) => firstByteMs === undefined ? undefined : shownMs(firstByteMs),
  ms: ({ ms }) => shownMs(ms),
  userAgent: ({ userAgent }) => userAgent,
  referer: ({ referer }) => referer,
  traceId: ({ traceId }) => traceId
}

/** A line of a record, with `-` for what it has not. @param template names fields only */
export function lineOf (template: string): (record: AccessRecord, remote: string) => string {
  const parts = template.split(NAMED_FIELD).map((part, at): string | FieldText => at % 2 === 0 ? part : FIELDS[part as LineField])
  return (record, remote) => {
    let line = ''
    for (const part of parts) {
      if (typeof part === 'string') {
        line += part
        continue
      }
      const value = part(record, remote)
      line += typeof value === 'string' ? value === '' ? '-' : escaped(value) : value ?? '-'
    }
    return line
  }
}
