import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import fc from 'fast-check'
import { ControlReader, MAX_CONTROL_LINE, encodeControl, parseControl } from '../../../src/protocol/control-messages.ts'
import type { ControlMessage } from '../../../src/protocol/control-messages.ts'
import { HeadError, HeadReader, encodeHead, parseResponseHead } from '../../../src/protocol/message-head.ts'

suite('message head', () => {
  test('what is encoded is read back, and the body is left alone', () => {
    const bytes = encodeHead('HTTP/1.1 206 Partial Content', [['content-length', '5'], ['etag', '"a\xe9"']])
    const body = Uint8Array.of(13, 10, 0, 255, 7)
    const raw = new HeadReader(1000).push(Uint8Array.from([...bytes, ...body]))
    assert.ok(raw)
    assert.deepEqual([...raw.rest], [...body])
    const head = parseResponseHead(raw.lines, 10)
    assert.equal(head.status, 206)
    assert.deepEqual([...head.fields], [['content-length', '5'], ['etag', '"a\xe9"']])
  })

  test('a value cannot forge a field or a body', () => {
    for (const value of ['a\r\nx: y', 'a\nb', 'a\r\n\r\nbody', '\0', '\u{1f600}', '\x7f']) assert.throws(() => encodeHead('HTTP/1.1 200 OK', [['x', value]]), HeadError)
  })

  test('a response without a valid status line is refused', () => {
    for (const line of [undefined, '', 'HTTP/1.1', 'HTTP/1.1 20 OK', 'HTTP/1.1 099 x', 'HTTP/2 200', 'ICY 200 OK', 'HTTP/1.1  200 OK']) {
      assert.throws(() => parseResponseHead(line === undefined ? [] : [line], 10), { name: 'HeadError', fault: 'malformed' }, line)
    }
    assert.equal(parseResponseHead(['HTTP/1.1 404'], 10).status, 404)
  })

  test('repeated list fields are joined', () => {
    assert.equal(parseResponseHead(['HTTP/1.1 200 OK', 'cache-status: a', 'Cache-Status: b'], 10).fields.get('cache-status'), 'a, b')
    for (const [lines, value] of [[['via:', 'via:'], ','], [['via: ', 'via: b'], ', b'], [['via: a', 'via:\t'], 'a,']] as const) {
      assert.equal(parseResponseHead(['HTTP/1.1 200 OK', ...lines], 10).fields.get('via'), value, 'a value never ends with white space')
    }
  })
})

const messages: ControlMessage[] = [
  { type: 'hello', version: '1.0.0', region: 'EU-WEST', limits: { maxStreams: 256 } },
  { type: 'bandwidth', bitsPerSecond: 1_660_000, suggestedRendition: '480p' },
  { type: 'drain', deadlineMs: 30_000, alternates: ['https://b.example:9003'] },
  { type: 'redirect', url: 'https://ü.example', reason: 'moved' },
  { type: 'filling', objects: [{ path: '/shards/QmX/shard_3.bin', bytes: 65_536 }, { path: '/shards/QmX/manifest.json', bytes: 0 }] },
  { type: 'ping' }
]

suite('control messages', () => {
  test('every message survives any chunking', () => {
    const bytes = Uint8Array.from(messages.flatMap(message => [...encodeControl(message)]))
    fc.assert(fc.property(fc.integer({ min: 1, max: 40 }), size => {
      const reader = new ControlReader()
      const read: ControlMessage[] = []
      for (let at = 0; at < bytes.length; at += size) read.push(...reader.push(bytes.subarray(at, at + size)))
      assert.deepEqual(read, messages)
    }))
  })

  test('unknown and malformed lines are skipped, unknown members ignored', () => {
    for (const line of ['', '{', 'null', '[]', '1', '{"type":"later"}', '{"type":"drain","deadlineMs":-1,"alternates":[]}', '{"type":"drain","deadlineMs":1}',
      '{"type":"redirect","url":1,"reason":""}', '{"type":"bandwidth","bitsPerSecond":null,"suggestedRendition":"x"}', '{"type":"hello"}']) {
      assert.equal(parseControl(line), undefined, line)
    }
    assert.deepEqual(parseControl('{"type":"ping","at":1}'), { type: 'ping' })
    assert.deepEqual(parseControl('{"type":"drain","deadlineMs":1,"alternates":["a",2],"later":1}'), { type: 'drain', deadlineMs: 1, alternates: ['a'] })
    fc.assert(fc.property(fc.json(), line => { parseControl(line) }))
  })

  test('a line without end holds no memory and the next line is read', () => {
    const reader = new ControlReader()
    const junk = new TextEncoder().encode('x'.repeat(4096))
    for (let turn = 0; turn < 100; turn++) assert.deepEqual(reader.push(junk), [])
    assert.deepEqual(reader.push(new TextEncoder().encode('y\n')), [])
    const [first] = messages
    assert.ok(first)
    assert.deepEqual(reader.push(encodeControl(first)), [first])
    assert.deepEqual(reader.push(new TextEncoder().encode(`{"type":"redirect","url":"u","reason":"${'r'.repeat(MAX_CONTROL_LINE)}"}\n`)), [])
  })
})
