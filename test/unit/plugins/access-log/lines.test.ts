import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import fc from 'fast-check'
import type { AccessRecord } from '../../../../src/channel/access-record.ts'
import { addressView } from '../../../../src/plugins/access-log/addresses.ts'
import { COMBINED, LINE_FIELDS } from '../../../../src/plugins/access-log/config.ts'
import { jsonOf } from '../../../../src/plugins/access-log/json-line.ts'
import { clfTime, isoTime } from '../../../../src/plugins/access-log/line-time.ts'
import { lineOf } from '../../../../src/plugins/access-log/template.ts'
import { ACCESS_RECORD } from '../../../support/access-record.ts'

/** What nginx's escaping and Apache's readers make of a text. */
const unescaped = (text: string): string => Buffer.from(text.replace(/\\x([0-9A-F]{2})/g, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16))), 'latin1').toString('latin1')

const CLF = /^(\S+) - (\S+) \[(\d\d\/[A-Z][a-z]{2}\/\d{4}:\d\d:\d\d:\d\d \+0000)\] "([^"]*)" (\d+) (\d+) "([^"]*)" "([^"]*)"$/

/** Fields of a request are bytes, one a character. */
const bytes = fc.string({ unit: fc.integer({ min: 0, max: 255 }).map(code => String.fromCharCode(code)), maxLength: 40 })
const nasty = fc.oneof(bytes, fc.string({ unit: 'binary', maxLength: 20 }), fc.constantFrom('"', '\\', 'a" 200 1 "b', '\n', '\r\n127.0.0.1 - - [', '\u2028', '\u0085', '\ud800', '-'))

suite('lines of the access log', () => {
  test('JSON: the record, and nothing that it has not', () => {
    assert.deepEqual(JSON.parse(jsonOf(ACCESS_RECORD, '192.0.2.0')), { ...ACCESS_RECORD, time: '2026-12-01T09:00:00.007Z', msg: 'request', remote: '192.0.2.0', firstByteMs: 1.23, ms: 4.57 })
    const { subject: _s, code: _c, range: _r, ...less } = ACCESS_RECORD
    assert.deepEqual(Object.keys(JSON.parse(jsonOf(less, 'a')) as object).filter(name => ['subject', 'code', 'range'].includes(name)), [])
  })

  test('combined format: what Apache and nginx write', () => {
    const line = lineOf(COMBINED)
    assert.equal(line(ACCESS_RECORD, '192.0.2.1'), '192.0.2.1 - alice [01/Dec/2026:09:00:00 +0000] "GET /shards/QmA/shard_3.bin HTTP/1.1" 206 1000 "https://example.org/" "agent/1.0 (x)"')
    assert.match(line({ ...ACCESS_RECORD, subject: undefined, referer: undefined, userAgent: '' }, 'unknown'), /^unknown - - .* 206 1000 "-" "-"$/)
  })

  test('a template: every field has its place, and what is not known is a dash', () => {
    const line = lineOf(LINE_FIELDS.map(name => `${name}={${name}}`).join(' | '))
    assert.equal(line({ ...ACCESS_RECORD, superNode: undefined }, 'a'), 'time=2026-12-01T09:00:00.007Z | clfTime=01/Dec/2026:09:00:00 +0000 | kind=hit | reqId=r-1 | remote=a | subject=alice | transport=http | version=1.1 | method=GET | url=/shards/QmA/shard_3.bin | ' +
      'requestLine=GET /shards/QmA/shard_3.bin HTTP/1.1 | object=QmA/3 | range=bytes=0-999 | status=206 | code=RELAY_ERR_INTERNAL | complete=true | bytes=1000 | cache=hit | superNode=- | firstByteMs=1.23 | ms=4.57 | userAgent=agent/1.0 (x) | referer=https://example.org/ | ' +
      'traceId=0af7651916cd43dd8448eb211c80319c')
    assert.equal(lineOf('{"a":"{url}"}')(ACCESS_RECORD, ''), '{"a":"/shards/QmA/shard_3.bin"}')
  })

  test('no text of a stranger makes a second line, or another field: whatever it is, it comes back as it was', () => {
    fc.assert(fc.property(nasty, nasty, nasty, (userAgent, referer, url) => {
      const record: AccessRecord = { ...ACCESS_RECORD, userAgent, referer, url, range: userAgent }
      const json = jsonOf(record, 'a')
      assert.match(json, /^[ -~]*$/)
      const read = JSON.parse(json) as AccessRecord
      assert.deepEqual([read.userAgent, read.referer, read.url, read.status], [userAgent, referer, url, 206])
      const line = lineOf(COMBINED)(record, '192.0.2.1')
      assert.match(line, /^[ -~]*$/)
      const [, , , , request = '', status, sent, from = '', agent = ''] = CLF.exec(line) ?? assert.fail(line)
      assert.deepEqual([status, sent], ['206', '1000'])
      for (const [written, meant] of [[agent, userAgent], [from, referer], [request, `GET ${url} HTTP/1.1`]] as const) {
        const latin = [...meant].every(char => char <= '\xff')
        assert.equal(unescaped(written), meant === '' ? '-' : latin ? meant : unescaped(lineOf('{url}')({ ...record, url: meant }, '')))
      }
    }), { numRuns: 50 })
  })
})

test('times: UTC, to the millisecond and to the second, whatever time came before', () => {
  fc.assert(fc.property(fc.integer({ min: 0, max: 4e12 }), ms => {
    assert.equal(isoTime(ms), new Date(ms).toISOString())
    assert.equal(Date.parse(clfTime(ms).replace(/^(\d\d)\/(\w{3})\/(\d{4}):/, '$1 $2 $3 ')), Math.floor(ms / 1_000) * 1_000)
  }), { numRuns: 30 })
})

suite('addresses', () => {
  const key = Buffer.alloc(32, 1)
  test('as they are, one spelling for each', () => {
    const full = addressView('full', key)
    assert.deepEqual(['192.0.2.77', '::ffff:192.0.2.77', '2001:db8::1', 'unknown'].map(full), ['192.0.2.77', '192.0.2.77', '2001:db8::1', 'unknown'])
  })

  test('as networks: /24, and /48 of IPv6', () => {
    const prefix = addressView('prefix', key)
    assert.deepEqual(['192.0.2.77', '::ffff:192.0.2.77', '2001:db8:1:2:3:4:5:6', '::1', 'unknown'].map(prefix), ['192.0.2.0', '192.0.2.0', '2001:db8:1::', '0:0:0::', 'unknown'])
  })

  test('as a hash: the same of one address and one key, another of others', () => {
    const [a, b] = [addressView('hashed', key), addressView('hashed', Buffer.alloc(32, 2))]
    assert.match(a('192.0.2.77'), /^[0-9a-f]{16}$/)
    assert.deepEqual([a('192.0.2.77') === a('::ffff:192.0.2.77'), a('192.0.2.77') === a('192.0.2.78'), a('192.0.2.77') === b('192.0.2.77')], [true, false, false])
  })
})
