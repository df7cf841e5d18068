import assert from 'node:assert/strict'
import { checkHost } from '../../src/plugins/http/host-field.ts'
import { formatCmsd, parseCmsd } from '../../src/protocol/cmsd.ts'
import { ifRangeMatches, matchesIfNoneMatch } from '../../src/protocol/conditional.ts'
import { contentRange, parseRange, parseRangeHeader, type RangeSpec } from '../../src/protocol/range.ts'
import { latin1, orRefused } from '../support/fuzz.ts'

const SIZES = [1, 1_000, 2 ** 32 + 1, Number.MAX_SAFE_INTEGER]
const ETAG = '"0123abc"'

const written = (spec: RangeSpec): string => spec.kind === 'suffix' ? `bytes=-${spec.length}` : `bytes=${spec.first}-${spec.last ?? ''}`

/** `Range`, `If-Range`, `If-None-Match`, `Host` and `CMSD-Dynamic`. */
export function fuzz (data: Uint8Array): void {
  const text = latin1(data)
  const spec = orRefused(['RELAY_ERR_RANGE_SYNTAX'], () => parseRangeHeader(text))
  if (spec !== undefined) assert.deepEqual(parseRangeHeader(written(spec)), spec)
  for (const size of SIZES) {
    const range = orRefused(['RELAY_ERR_RANGE_SYNTAX', 'RELAY_ERR_RANGE_UNSATISFIABLE'], () => parseRange(text, size))
    if (range === undefined) continue
    assert.ok(range.start >= 0 && range.start < range.end && range.end <= size)
    assert.match(contentRange(range, size), /^bytes \d+-\d+\/\d+$/)
  }

  if (matchesIfNoneMatch(text, ETAG)) assert.ok(text.includes(ETAG) || text.includes('*'))
  if (ifRangeMatches(text, ETAG)) assert.ok(text.includes(ETAG) && !text.includes('W/'))
  for (const name of ['Host', ':authority']) orRefused(['RELAY_ERR_BAD_REQUEST'], () => { checkHost({ rawHeaders: [name, text], httpVersion: '2.0' }) })

  const hint = parseCmsd(text)
  if (hint === undefined) return
  assert.ok(Number.isSafeInteger(hint.bitsPerSecond) && hint.bitsPerSecond >= 0)
  assert.match(hint.rendition, /^[A-Za-z0-9._-]{1,32}$/)
  assert.deepEqual(parseCmsd(formatCmsd(hint)), hint)
}
