import assert from 'node:assert/strict'
import { REQUEST_LIMITS, RequestReader, type ViewerRequest } from '../../src/gateway/session/request-codec.ts'
import { encodeHead } from '../../src/protocol/message-head.ts'
import { parseRangeHeader } from '../../src/protocol/range.ts'
import { parseShardPath } from '../../src/protocol/shard-key.ts'
import { parseVia } from '../../src/protocol/via.ts'
import { orRefused, sameInPieces } from '../support/fuzz.ts'

function read (chunks: readonly Uint8Array[]): ViewerRequest {
  const reader = new RequestReader()
  for (const chunk of chunks) {
    const request = reader.push(chunk)
    if (request !== undefined) return request
  }
  return reader.end()
}

const plain = ({ method, path, fields }: ViewerRequest): unknown => ({ method, path, fields: Object.fromEntries(fields) })

/** Requests of viewers over sessions, and what is read of their fields first. */
export function fuzz (data: Uint8Array): void {
  sameInPieces(data, chunks => { const request = read(chunks); return [plain(request), request.token] })
  const request = orRefused(['RELAY_ERR_BAD_REQUEST', 'RELAY_ERR_METHOD', 'RELAY_ERR_HEADERS_TOO_LARGE', 'RELAY_ERR_BODY_TOO_LARGE'], () => read([data]))
  if (request === undefined) return
  const { method, path, token, fields } = request
  assert.match(method, /^(?:GET|HEAD)$/)
  assert.match(path, /^\/[\x21-\x3e\x40-\x7e]*$/)
  if (token !== undefined) assert.match(token, /^[\x21-\x7e]+$/)
  assert.ok(fields.size <= REQUEST_LIMITS.maxFields)
  assert.ok(!fields.has('transfer-encoding'))
  for (const [name, value] of fields) {
    assert.match(name, /^[!-9;-@[-~]+$/)
    // eslint-disable-next-line no-control-regex
    assert.match(value, /^(?:[^\x00-\x20\x7f](?:[^\x00-\x08\x0a-\x1f\x7f]*[^\x00-\x20\x7f])?)?$/)
  }
  const again = encodeHead(`${method} ${path} HTTP/1.1`, [...fields])
  if (again.length <= REQUEST_LIMITS.maxBytes) assert.deepEqual(plain(read([again])), plain(request))
  orRefused(['RELAY_ERR_SHARD_PATH'], () => parseShardPath(path))
  orRefused(['RELAY_ERR_RANGE_SYNTAX'], () => parseRangeHeader(fields.get('range')))
  parseVia(fields.get('via'))
}
