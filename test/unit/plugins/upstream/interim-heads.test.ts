import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { InterimHeads } from '../../../../src/plugins/upstream/interim-heads.ts'

const interim = fc.record({ status: fc.constantFrom(100, 102, 103, 199), fields: fc.array(fc.constantFrom('x: y', 'link: </100 Continue>', 'z: HTTP/1.1 100'), { maxLength: 3 }), eol: fc.constantFrom('\r\n', '\n') })
const last = fc.constantFrom('HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n', 'HTTP/1.0 100', 'HTTP/1.1 404\r\n\r\n', 'SSH-2.0 100 x', '\n 100 x', '', 'HTTP/1.1 1')

test('of any heads in any pieces: every 100 before the final head is 102, and no other byte changes', () => {
  fc.assert(fc.property(fc.array(interim, { maxLength: 4 }), last, fc.array(fc.nat(9), { minLength: 1 }), (heads, final, sizes) => {
    const texts = heads.map(({ status, fields, eol }) => [`HTTP/1.1 ${status} Some thing`, ...fields, '', ''].join(eol))
    const sent = Buffer.from(texts.join('') + final)
    const expected = texts.map(text => text.replace(/^HTTP\/1\.1 100/, 'HTTP/1.1 102')).join('') + final.replace(/^(HTTP\/1\.\d|SSH-2\.0) 100/, '$1 102')
    const filter = new InterimHeads()
    filter.expect()
    for (let at = 0, n = 0; at < sent.length; n++) {
      const size = 1 + (sizes[n % sizes.length] ?? 0)
      filter.pass(sent.subarray(at, at + size))
      at += size
    }
    assert.equal(sent.toString(), expected)
  }))
})

test('nothing is looked at before a response is expected', () => {
  const bytes = Buffer.from('HTTP/1.1 100 Continue\r\n\r\n')
  new InterimHeads().pass(bytes)
  assert.equal(bytes.toString(), 'HTTP/1.1 100 Continue\r\n\r\n')
})
