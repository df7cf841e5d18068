import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import fc from 'fast-check'
import { RelayError } from '../../../src/base/errors.ts'
import { REQUEST_LIMITS, RequestReader } from '../../../src/gateway/session/request-codec.ts'
import type { ViewerRequest } from '../../../src/gateway/session/request-codec.ts'

const encode = (text: string): Uint8Array => Uint8Array.from(text, char => char.charCodeAt(0))

interface Outcome { readonly request?: Omit<ViewerRequest, 'fields'> & { fields: Record<string, string> }, readonly code?: string }

/** What a stream of these chunks, then FIN, is read as. */
function read (chunks: Iterable<Uint8Array>): Outcome {
  const reader = new RequestReader()
  try {
    for (const chunk of chunks) {
      const request = reader.push(chunk)
      if (request !== undefined) return { request: { ...request, fields: Object.fromEntries(request.fields) } }
    }
    const request = reader.end()
    return { request: { ...request, fields: Object.fromEntries(request.fields) } }
  } catch (error) {
    assert.ok(error instanceof RelayError, String(error))
    return { code: error.code }
  }
}

const whole = (text: string): Outcome => read([encode(text)])
const PATH = '/shards/Qm1/shard_3.bin'

suite('request codec', () => {
  test('the full form, with CRLF or bare LF, ended by an empty line or FIN', () => {
    const expected = { request: { method: 'GET', path: PATH, token: 's3cret', fields: { range: 'bytes=0-1', authorization: 'Bearer s3cret' } } }
    const text = `GET ${PATH} HTTP/1.1\r\nRange:bytes=0-1 \r\nauthorization: \tbearer s3cret\r\n\r\n`
    const value = (bearer: string): unknown => ({ request: { ...expected.request, fields: { ...expected.request.fields, authorization: bearer } } })
    assert.deepEqual(whole(text), value('bearer s3cret'))
    assert.deepEqual(whole(text.replaceAll('\r', '')), value('bearer s3cret'))
    assert.deepEqual(whole(text.trimEnd()), value('bearer s3cret'))
    assert.deepEqual(whole(text + 'trailing bytes are not the codec\'s business'), value('bearer s3cret'))
  })

  test('the short and the old form', () => {
    const bare = { method: 'GET', path: PATH, token: undefined, fields: {} }
    for (const text of [`GET ${PATH}`, `GET ${PATH}\n`, `GET ${PATH}\r\n\r\n`, `GET ${PATH}?x=1\n\n`]) assert.deepEqual(whole(text), { request: bare }, text)
    for (const text of [`AUTH tok.en\nGET ${PATH}`, `AUTH tok.en\r\nGET ${PATH}\r\n\r\n`]) assert.deepEqual(whole(text), { request: { ...bare, token: 'tok.en' } })
    assert.equal(whole(`HEAD ${PATH} HTTP/1.0\n\n`).request?.method, 'HEAD')
  })

  test('what is not a request gives one code each', () => {
    const cases: Array<[string, string]> = [
      ['', 'BAD_REQUEST'], ['\r\n', 'BAD_REQUEST'], ['GET', 'BAD_REQUEST'], ['GET \n\n', 'BAD_REQUEST'], [`GET  ${PATH}\n\n`, 'BAD_REQUEST'],
      [`GET ${PATH} HTTP/2\n\n`, 'BAD_REQUEST'], [`GET ${PATH} HTTP/1.1 x\n\n`, 'BAD_REQUEST'], ['GET http://h/shards/a/shard_1.bin\n\n', 'BAD_REQUEST'],
      [`POST ${PATH}\n\n`, 'METHOD'], [`get ${PATH}\n\n`, 'METHOD'], [`G@T ${PATH}\n\n`, 'BAD_REQUEST'],
      [`GET ${PATH}\nrange: bytes=0-1\n folded\n\n`, 'BAD_REQUEST'], [`GET ${PATH}\nrange : x\n\n`, 'BAD_REQUEST'], [`GET ${PATH}\nnocolon\n\n`, 'BAD_REQUEST'],
      [`GET ${PATH}\nrange: bytes=0-1\nRANGE: bytes=0-1\n\n`, 'BAD_REQUEST'], [`GET ${PATH}\nauthorization: Bearer a\nauthorization: Bearer a\n\n`, 'BAD_REQUEST'],
      [`GET ${PATH}\nx: a\0b\n\n`, 'BAD_REQUEST'], [`GET ${PATH}\nx: a\rb\n\n`, 'BAD_REQUEST'], [`GET ${PATH}\r`, 'BAD_REQUEST'], [`GET ${PATH}\nx: \x7f\n\n`, 'BAD_REQUEST'],
      ['AUTH \nGET /\n\n', 'BAD_REQUEST'], [`AUTH a b\nGET ${PATH}\n\n`, 'BAD_REQUEST'],
      [`AUTH a\nGET ${PATH}\nauthorization: Bearer a\n\n`, 'BAD_REQUEST'], ['AUTH a\n\n', 'BAD_REQUEST'],
      [`GET ${PATH}\ncontent-length: 1\n\nx`, 'BODY_TOO_LARGE'], [`GET ${PATH}\ncontent-length: -1\n\n`, 'BAD_REQUEST'], [`GET ${PATH}\ntransfer-encoding: chunked\n\n`, 'BAD_REQUEST']
    ]
    for (const [text, code] of cases) assert.deepEqual(whole(text), { code: `RELAY_ERR_${code}` }, JSON.stringify(text))
    assert.ok(whole(`GET ${PATH}\ncontent-length: 0\n\n`).request)
  })

  test('the head is bounded in bytes and in fields, exactly', () => {
    const filler = (bytes: number): string => {
      const start = `GET ${PATH}\nx: `
      return start + 'a'.repeat(bytes - start.length - 2) + '\n\n'
    }
    assert.ok(whole(filler(REQUEST_LIMITS.maxBytes)).request)
    assert.deepEqual(whole(filler(REQUEST_LIMITS.maxBytes + 1)), { code: 'RELAY_ERR_HEADERS_TOO_LARGE' })
    const fields = (count: number): string => `GET ${PATH}\n${Array.from({ length: count }, (_, i) => `x${i}: y\n`).join('')}\n`
    assert.ok(whole(fields(64)).request)
    assert.deepEqual(whole(fields(65)), { code: 'RELAY_ERR_HEADERS_TOO_LARGE' })
  })

  test('a token is a bearer field, else the query, as over HTTP; another scheme is none', () => {
    const token = (text: string): unknown => whole(text).request?.token
    assert.equal(token(`GET ${PATH}?token=t HTTP/1.1\n\n`), 't')
    assert.equal(token(`GET ${PATH}?token=t HTTP/1.1\nauthorization: Bearer u\n\n`), 'u')
    assert.equal(token(`GET ${PATH} HTTP/1.1\nauthorization: Basic eA==\n\n`), undefined)
    assert.equal(token(`GET ${PATH} HTTP/1.1\nauthorization: Bearer\n\n`), undefined)
    assert.deepEqual(whole(`AUTH a\nGET ${PATH}?token=t\n\n`), { code: 'RELAY_ERR_BAD_REQUEST' })
  })

  test('errors never repeat what the viewer sent', () => {
    for (const text of ['AUTH se cret\nGET /\n\n', `GET ${PATH}\nsecret\n\n`, `AUTH secret\nPOST ${PATH}?token=secret\n\n`, 'GET secret\n\n']) {
      assert.throws(() => { new RequestReader().push(encode(text)) }, error => error instanceof RelayError && !error.message.includes('ecret') && error.cause === undefined)
    }
  })

  const piece = fc.constantFrom('GET ', 'HEAD ', 'POST ', PATH, '/shards/x', ' HTTP/1.1', '\r\n', '\n', '\r', 'range: ', 'bytes=0-9', 'AUTH ', 'tok', 'authorization: Bearer x', ':', ' ', '\t', '\0', '\xff', 'x'.repeat(3000))
  const message = fc.oneof(fc.array(piece, { maxLength: 12 }).map(parts => parts.join('')), fc.string({ unit: 'binary' }).map(text => text.replace(/[^\0-\xff]/g, '\xfe')))

  test('the chunks do not matter', () => {
    fc.assert(fc.property(message, fc.array(fc.nat(200), { minLength: 1, maxLength: 8 }), (text, sizes) => {
      const bytes = encode(text)
      const split: Uint8Array[] = []
      let rest = bytes
      for (let turn = 0; rest.length > 0; turn++) {
        const size = 1 + (sizes[turn % sizes.length] ?? 0)
        split.push(rest.subarray(0, size))
        rest = rest.subarray(size)
      }
      assert.deepEqual(read(split), read([bytes]))
      assert.deepEqual(read(Array.from(bytes, byte => Uint8Array.of(byte))), read([bytes]))
    }), { numRuns: 1000 })
  })

  test('random bytes and every truncation give a request or a RelayError', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 300 }), bytes => { read([bytes]) }), { numRuns: 1000 })
    const full = `AUTH abc\r\nGET ${PATH}?q HTTP/1.1\r\nrange: bytes=0-1\r\nif-none-match: "a", W/"b"\r\n\r\n`
    for (let length = 0; length <= full.length; length++) read([encode(full.slice(0, length))])
  })
})
