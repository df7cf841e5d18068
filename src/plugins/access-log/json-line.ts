import type { AccessRecord } from '../../channel/access-record.ts'
import { jsonText } from './escape.ts'
import { isoTime } from './line-time.ts'

const text = (name: string, value: string | undefined): string => value === undefined ? '' : `,"${name}":${jsonText(value)}`

/** In hundredths: more digits are noise. */
export function shownMs (ms: number): number {
  return Math.round(ms * 100) / 100
}

/**
 * A record as an object of JSON, put together by hand: otherwise another object would have to be built for it, with names and texts as they are shown.
 * @param remote the address as it is shown
 */
export function jsonOf (record: AccessRecord, remote: string): string {
  const { kind, reqId, subject, transport, version, method, url, object, range, status, code, complete, bytes, cache, superNode, firstByteMs, ms, userAgent, referer, traceId } = record
  return `{"time":"${isoTime(record.time)}","msg":"request","kind":"${kind}","reqId":${jsonText(reqId)},"remote":${jsonText(remote)}${text('subject', subject)},"transport":"${transport}"${
    text('version', version)},"method":${jsonText(method)},"url":${jsonText(url)}${text('object', object)}${text('range', range)},"status":${status}${text('code', code)},"complete":${complete},"bytes":${bytes}${
    text('cache', cache)}${text('superNode', superNode)}${firstByteMs === undefined ? '' : `,"firstByteMs":${shownMs(firstByteMs)}`},"ms":${shownMs(ms)}${
    text('userAgent', userAgent)}${text('referer', referer)}${text('traceId', traceId)}}`
}
