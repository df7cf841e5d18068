import assert from 'node:assert/strict'
import { grantOf } from '../../src/admission/jwt-claims.ts'
import { requestToken } from '../../src/admission/request-token.ts'
import { SignedUrls, signUrl } from '../../src/admission/signed-url.ts'
import { decodeTicket, encodeTicket, NONCE_BYTES } from '../../src/admission/ticket.ts'
import { CID_PREFIX, CLASS_NAME, IDENTITY } from '../../src/admission/verdict.ts'
import { latin1 } from '../support/fuzz.ts'

const KEY = Buffer.alloc(32, 7)
const NOW = 1_700_000_000_000
const URL_KEY = { kid: 'k1', secret: KEY.toString('base64') }
const urls = new SignedUrls([URL_KEY])
const SIGNED = signUrl({ path: '/shards/QmFuzz/', expiresAt: NOW / 1_000 + 60 }, URL_KEY)

/** Tickets, tokens, signed URLs, and the claims of a JWT whose signature is good. */
export function fuzz (data: Uint8Array): void {
  const text = latin1(data)
  // Nobody finds a MAC: whatever opens was made here.
  assert.equal(typeof decodeTicket(text, KEY), 'string')
  const address = text.slice(0, 64)
  const ticket = { address, expiresAt: data.length * 2 ** 30, nonce: Buffer.alloc(NONCE_BYTES, data[0] ?? 0) }
  const encoded = encodeTicket(ticket, KEY)
  // eslint-disable-next-line no-control-regex
  if (/^[\x00-\x7f]+$/.test(address)) assert.deepEqual(decodeTicket(encoded, KEY), ticket)
  const at = (data[0] ?? 0) % encoded.length
  const forged = encoded.slice(0, at) + (data.length > 1 ? text.slice(1, 2) : '') + encoded.slice(at + 1)
  if (forged !== encoded) assert.equal(typeof decodeTicket(forged, KEY), 'string')

  const token = requestToken(text, `/shards/QmFuzz/shard_0.bin?${text}`)
  assert.ok(token === undefined || token.length > 0)
  const judged = urls.judge(`/shards/${text}`, '127.0.0.1', NOW)
  if (judged !== undefined) assert.equal(judged.ok && !text.includes('sig='), false)
  const appended = urls.judge(`${SIGNED}&${text}`.replace('/shards/QmFuzz/?', '/shards/QmFuzz/shard_0.bin?'), '127.0.0.1', NOW)
  // What is appended may be of no meaning, and grants nothing.
  assert.ok(appended === undefined || !appended.ok || (appended.identity === undefined && appended.class === undefined && appended.expiresAt === NOW + 60_000))

  for (const requireExp of [true, false]) {
    const grant = grantOf(data, { requireExp, clockToleranceMs: 30_000 })
    if (typeof grant === 'string') continue
    assert.ok([grant.notBefore ?? 0, grant.expiresAt ?? 0].every(Number.isFinite))
    assert.ok(!requireExp || grant.expiresAt !== undefined)
    assert.ok(IDENTITY.test(grant.identity ?? 'x') && CLASS_NAME.test(grant.class ?? 'x') && (grant.cidPrefixes ?? []).every(prefix => CID_PREFIX.test(prefix)))
  }
}
