import assert from 'node:assert/strict'
import { fieldValue, readHead, retryAfterSeconds } from '../../src/plugins/upstream/answer.ts'
import { InterimHeads } from '../../src/plugins/upstream/interim-heads.ts'
import { HeadError, HeadReader, parseResponseHead, type RawHead } from '../../src/protocol/message-head.ts'
import { orRefused, sameInPieces } from '../support/fuzz.ts'

const LIMITS = { maxBytes: 8192, maxFields: 64 }

function head (chunks: readonly Uint8Array[]): RawHead {
  const reader = new HeadReader(LIMITS.maxBytes)
  for (const chunk of chunks) {
    const found = reader.push(chunk)
    if (found !== undefined) return found
  }
  return reader.end()
}

function passed (chunks: readonly Buffer[]): string {
  const heads = new InterimHeads()
  heads.expect()
  for (const chunk of chunks) heads.pass(chunk)
  return Buffer.concat(chunks).toString('latin1')
}

/** Answers of super-nodes, and of relays to the client. */
export function fuzz (data: Uint8Array): void {
  sameInPieces(data, passed)
  const changed = passed([Buffer.from(data)])
  assert.equal(changed.length, data.length)
  Array.from(changed).forEach((char, at) => {
    const before = String.fromCharCode(data[at] ?? 0)
    assert.ok(char === before || (char === '2' && before === '0' && changed.slice(at - 2, at) === '10'), `byte ${at}`)
  })

  sameInPieces(data, chunks => head(chunks).lines)
  let answer
  try {
    answer = parseResponseHead(head([data]).lines, LIMITS.maxFields)
  } catch (error) {
    if (error instanceof HeadError) return
    throw error
  }
  assert.ok(answer.status >= 100 && answer.status <= 999)
  const fields = Object.fromEntries(answer.fields)
  const wait = retryAfterSeconds(fieldValue(fields, 'retry-after'), 1_700_000_000_000)
  assert.ok(wait === undefined || (Number.isInteger(wait) && wait >= 0 && wait <= 86_400))
  const facts = orRefused(['RELAY_ERR_UPSTREAM_STATUS', 'RELAY_ERR_UPSTREAM_BODY'], () => readHead('a node', fields))
  if (facts?.size !== undefined) assert.ok(Number.isSafeInteger(facts.size) && facts.size > 0)
}
