import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import fc from 'fast-check'
import { forGateway, OPEN, type AuthSettings } from '../../../src/admission/auth-settings.ts'
import { BUSY, JwtJudge, MAX_CHECKING } from '../../../src/admission/jwt-judge.ts'
import { JwtVerifier } from '../../../src/admission/jwt-verifier.ts'
import { MAX_TOKEN_BYTES, requestToken } from '../../../src/admission/request-token.ts'
import { signUrl } from '../../../src/admission/signed-url.ts'
import { configuredHash, hashedToken, tokenHash } from '../../../src/admission/static-tokens.ts'
import { applyGrant, ViewerRefused, type ViewerGrant, type Refused, type Verdict } from '../../../src/admission/verdict.ts'
import { ViewerJudge } from '../../../src/admission/viewer-judge.ts'
import { deferred } from '../../../src/base/deferred.ts'
import { ERRORS } from '../../../src/base/errors.ts'
import { EPOCH_S, jwtSettings, keyPair, makeJwt, publicKeySettings, SECRET } from '../../support/jwt.ts'

const TOKEN = 'correct-horse-battery'
const SCOPED = 'a-token-for-some-only'
const URL_KEY = { kid: 'a', secret: 'k'.repeat(32) }
const SETTINGS: AuthSettings = {
  require: true,
  tokens: [{ hash: tokenHash(TOKEN) }, { hash: tokenHash(SCOPED), class: 'gold', cidPrefixes: ['Qm', 'bafy'] }],
  jwt: jwtSettings(),
  signedUrlKeys: [URL_KEY]
}

const start = EPOCH_S * 1_000

/** A judge and a clock to move by hand, milliseconds. */
function rig (settings: Partial<AuthSettings> = {}): { judge: ViewerJudge, clock: { now: number }, verdict: (token: string | undefined, cid?: string) => Promise<Verdict> } {
  const clock = { now: start }
  const judge = new ViewerJudge({ ...SETTINGS, ...settings }, () => clock.now)
  return { judge, clock, verdict: async (token, cid) => await judge.judge({ token }, cid) }
}

const codeOf = (verdict: Verdict): string => verdict.ok ? 'ok' : verdict.code

suite('static tokens', () => {
  test('known, unknown, missing', async () => {
    const { verdict } = rig()
    assert.deepEqual(await verdict(TOKEN, 'any'), { ok: true })
    assert.deepEqual(await verdict(undefined), { ok: false, code: 'RELAY_ERR_VIEWER_UNAUTHORIZED', detail: 'this relay wants a token', missing: true })
    for (const wrong of ['', 'x', `${TOKEN}x`, TOKEN.slice(1), TOKEN.toUpperCase(), hashedToken(TOKEN), tokenHash(TOKEN)]) {
      assert.deepEqual(await verdict(wrong), { ok: false, code: 'RELAY_ERR_VIEWER_UNAUTHORIZED', detail: 'the token is not valid', missing: false })
    }
    assert.equal(codeOf(await rig({ tokens: [] }).verdict(TOKEN)), 'RELAY_ERR_VIEWER_UNAUTHORIZED')
  })

  test('class and scope of a token', async () => {
    const { verdict } = rig()
    for (const cid of ['Qm', 'QmAbc', 'bafy-1', undefined]) assert.deepEqual(await verdict(SCOPED, cid), { ok: true, class: 'gold' })
    for (const cid of ['Q', 'qm', 'xQm', '']) assert.equal(codeOf(await verdict(SCOPED, cid)), 'RELAY_ERR_VIEWER_SCOPE')
  })

  test('the hash of a token is that of its plain text, whichever stands in the configuration', () => {
    assert.match(hashedToken(TOKEN), /^sha256:[0-9a-f]{64}$/)
    assert.equal(configuredHash(TOKEN), configuredHash(hashedToken(TOKEN)))
    assert.equal(configuredHash(hashedToken(TOKEN).toUpperCase().replace('SHA', 'sha')), configuredHash(TOKEN))
  })
})

suite('scopes', () => {
  const cid = fc.string({ unit: fc.constantFrom(...'Qmab-_1'), minLength: 1, maxLength: 6 })

  test('a grant opens the objects that start with one of its prefixes, and all without any', () => {
    fc.assert(fc.property(fc.array(cid, { maxLength: 4 }), cid, (cidPrefixes, wanted) => {
      const inside = cidPrefixes.some(prefix => wanted.slice(0, prefix.length) === prefix)
      assert.equal(codeOf(applyGrant({ cidPrefixes }, wanted, 0)), inside ? 'ok' : 'RELAY_ERR_VIEWER_SCOPE')
      assert.equal(codeOf(applyGrant({ cidPrefixes }, undefined, 0)), 'ok')
      assert.equal(codeOf(applyGrant({}, wanted, 0)), 'ok')
    }))
  })

  test('time goes before scope, and a grant holds from nbf to before exp', () => {
    fc.assert(fc.property(fc.integer({ min: -3, max: 13 }), fc.option(fc.integer({ min: 0, max: 10 }), { nil: undefined }), fc.option(fc.integer({ min: 0, max: 10 }), { nil: undefined }), fc.boolean(), (now, notBefore, expiresAt, foreign) => {
      const grant: ViewerGrant = { ...notBefore === undefined ? {} : { notBefore }, ...expiresAt === undefined ? {} : { expiresAt }, cidPrefixes: foreign ? [] : ['a'] }
      const expected = expiresAt !== undefined && now >= expiresAt
        ? 'RELAY_ERR_VIEWER_TOKEN_EXPIRED'
        : notBefore !== undefined && now < notBefore ? 'RELAY_ERR_VIEWER_TOKEN_EARLY' : foreign ? 'RELAY_ERR_VIEWER_SCOPE' : 'ok'
      assert.equal(codeOf(applyGrant(grant, 'a', now)), expected)
    }))
  })
})

suite('JWTs', () => {
  test('boundaries of exp and nbf, with and without tolerance, also when the token is remembered', async () => {
    for (const clockToleranceMs of [0, 2_000]) {
      const { verdict, clock, judge } = rig({ jwt: jwtSettings(undefined, { clockToleranceMs }) })
      const token = await makeJwt({ exp: EPOCH_S + 20, nbf: EPOCH_S + 10, sub: 'v', class: 'gold' })
      for (const [at, expected] of [
        [10_000 - clockToleranceMs - 1, 'RELAY_ERR_VIEWER_TOKEN_EARLY'], [10_000 - clockToleranceMs, 'ok'], [20_000 + clockToleranceMs - 1, 'ok'],
        [20_000 + clockToleranceMs, 'RELAY_ERR_VIEWER_TOKEN_EXPIRED'], [1e9, 'RELAY_ERR_VIEWER_TOKEN_EXPIRED']
      ] as const) {
        clock.now = start + at
        assert.equal(codeOf(await verdict(token)), expected, `${at} ${clockToleranceMs}`)
        assert.equal(judge.sizes().known, 1)
      }
      clock.now = start + 15_000
      assert.deepEqual(await verdict(token), { ok: true, identity: 'v', class: 'gold', expiresAt: start + 20_000 + clockToleranceMs })
    }
  })

  test('one signature check serves all requests with the token, those at the same time too', async () => {
    let checks = 0
    const verifier = new JwtVerifier(jwtSettings())
    const jwt = new JwtJudge({ verify: async token => { checks++; return await verifier.verify(token) } })
    const token = await makeJwt({ exp: EPOCH_S })
    const looks = await Promise.all(Array.from({ length: 50 }, async () => await jwt.look(token, tokenHash(token))))
    assert.deepEqual(looks[0], { expiresAt: start })
    assert.deepEqual(jwt.look(token, tokenHash(token)), { expiresAt: start }, 'a known token needs no wait')
    assert.equal(checks, 1)
    assert.equal(jwt.sizes().checking, 0)
  })

  test('a scope is judged for each object', async () => {
    const { verdict } = rig()
    const token = await makeJwt({ exp: EPOCH_S + 1, cids: ['QmA', 'QmB'] })
    for (const [cid, expected] of [['QmA', 'ok'], ['QmB1', 'ok'], ['QmC', 'RELAY_ERR_VIEWER_SCOPE'], [undefined, 'ok']] as const) assert.equal(codeOf(await verdict(token, cid)), expected)
  })

  test('other settings count from the next request on, for remembered tokens too', async () => {
    const { verdict, judge } = rig()
    const token = await makeJwt({ exp: EPOCH_S + 1 })
    assert.equal(codeOf(await verdict(token)), 'ok')
    const ed = keyPair('EdDSA')
    judge.replace({ ...SETTINGS, jwt: jwtSettings([publicKeySettings(ed)]) })
    assert.equal(codeOf(await verdict(token)), 'RELAY_ERR_VIEWER_UNAUTHORIZED')
    assert.equal(codeOf(await verdict(await makeJwt({ exp: EPOCH_S + 1 }, ed))), 'ok')
    judge.replace(OPEN)
    assert.deepEqual(await verdict(token), { ok: true })
  })

  test('a check that was under way when the settings changed is not remembered', async () => {
    const { judge, verdict } = rig()
    const token = await makeJwt({ exp: EPOCH_S + 1 })
    const late = verdict(token)
    judge.replace({ ...SETTINGS, jwt: jwtSettings([publicKeySettings(keyPair('EdDSA'))]) })
    await late
    assert.equal(judge.sizes().known, 0)
    assert.equal(codeOf(await verdict(token)), 'RELAY_ERR_VIEWER_UNAUTHORIZED')
  })
})

suite('bounds', () => {
  test('a token beyond the limit is refused unread; one at the limit is read', async () => {
    const { verdict } = rig()
    assert.match((await verdict('x'.repeat(MAX_TOKEN_BYTES + 1)) as Refused).detail, /longer than 8192 bytes/)
    assert.match((await verdict('ä'.repeat(MAX_TOKEN_BYTES / 2 + 1)) as Refused).detail, /longer than 8192 bytes/)
    const base = await makeJwt({ exp: EPOCH_S + 1, pad: '' })
    const pad = 'x'.repeat(Math.floor((MAX_TOKEN_BYTES - base.length) / 4) * 3 - 3)
    const token = await makeJwt({ exp: EPOCH_S + 1, pad })
    assert.ok(token.length > MAX_TOKEN_BYTES - 16 && token.length <= MAX_TOKEN_BYTES, `${token.length}`)
    assert.equal(codeOf(await verdict(token)), 'ok')
  })

  test('signatures under check are bounded: one more is turned away and can come again', async () => {
    const gate = deferred<ViewerGrant>()
    const jwt = new JwtJudge({ verify: async () => await gate.promise })
    const looks = Array.from({ length: MAX_CHECKING }, (_, index) => jwt.look(`t${index}`, `h${index}`))
    assert.equal(jwt.sizes().checking, MAX_CHECKING)
    assert.equal(jwt.look('one-more', 'h-more'), BUSY)
    assert.ok(jwt.look('t0', 'h0') instanceof Promise, 'a token already under check joins')
    gate.resolve({ identity: 'v' })
    await Promise.all(looks.map(async look => await look))
    assert.equal(jwt.sizes().checking, 0)
    assert.ok(jwt.look('one-more', 'h-more') instanceof Promise)
  })

  test('remembered tokens are bounded in number and in bytes, the oldest goes first', async () => {
    const jwt = new JwtJudge({ verify: async () => ({}) })
    for (let index = 0; index < 10_500; index++) await jwt.look('x'.repeat(100), `h${index}`)
    assert.equal(jwt.sizes().known, 10_000)
    assert.ok(jwt.look('x', 'h0') instanceof Promise && !(jwt.look('x', 'h10499') instanceof Promise))
    const large = new JwtJudge({ verify: async () => ({}) })
    for (let index = 0; index < 3_000; index++) {
      await large.look('x'.repeat(MAX_TOKEN_BYTES), `h${index}`)
      assert.ok(large.sizes().knownBytes <= 16 * 1024 * 1024)
    }
    assert.ok(large.sizes().known > 1_500 && large.sizes().known < 2_100, `${large.sizes().known}`)
  })

  test('tokens that are not genuine are not remembered: they cannot push out those that are', async () => {
    const { judge, verdict } = rig()
    const token = await makeJwt({ exp: EPOCH_S + 1 })
    await verdict(token)
    for (let index = 0; index < 200; index++) await verdict(`${token.slice(0, -3)}${String(index).padStart(3, '0')}`)
    assert.deepEqual([judge.sizes().known, judge.sizes().checking], [1, 0])
  })
})

suite('what is required', () => {
  test('while nothing is required, valid tokens give identity and class, all others count for nothing', async () => {
    const { verdict, judge } = rig({ require: false })
    assert.equal(judge.required, false)
    assert.deepEqual(await verdict(SCOPED, 'QmA'), { ok: true, class: 'gold' })
    assert.deepEqual(await verdict(await makeJwt({ exp: EPOCH_S + 1, sub: 'v', class: 'gold' })), { ok: true, identity: 'v', class: 'gold', expiresAt: start + 1_000 })
    for (const token of [undefined, 'wrong', 'x'.repeat(10_000), await makeJwt({ exp: EPOCH_S - 1, class: 'gold' })]) assert.deepEqual(await verdict(token, 'QmA'), { ok: true })
    assert.deepEqual(await verdict(SCOPED, 'other'), { ok: true })
    assert.deepEqual(judge.judge({ token: undefined, url: { target: '/shards/a/shard_0.bin?sig=x', ip: undefined } }), { ok: true })
  })

  test('a token goes before a signature, and either will do', async () => {
    const { judge } = rig()
    const target = signUrl({ path: '/shards/QmA/shard_0.bin', expiresAt: EPOCH_S + 1, viewer: 'v' }, URL_KEY)
    const url = { target, ip: '192.0.2.1' }
    assert.deepEqual(judge.judge({ token: undefined, url }, 'QmA'), { ok: true, identity: 'v', expiresAt: start + 1_000 })
    assert.deepEqual(judge.judge({ token: TOKEN, url }, 'QmA'), { ok: true })
    assert.equal(codeOf(await judge.judge({ token: 'wrong', url }, 'QmA')), 'RELAY_ERR_VIEWER_UNAUTHORIZED')
    assert.equal(codeOf(await judge.judge({ token: undefined }, 'QmA')), 'RELAY_ERR_VIEWER_UNAUTHORIZED')
  })

  test('the gateway gets no secret of signed URLs, and what it gets survives the channel', async () => {
    const sent = structuredClone(forGateway(SETTINGS))
    assert.ok(!JSON.stringify(sent).includes(URL_KEY.secret))
    assert.ok(!JSON.stringify(sent).includes(TOKEN))
    const judge = new ViewerJudge(sent, () => start)
    assert.deepEqual(await judge.judge({ token: await makeJwt({ exp: EPOCH_S + 1, sub: 'v' }) }), { ok: true, identity: 'v', expiresAt: start + 1_000 })
    const keys = structuredClone(forGateway({ ...SETTINGS, jwt: jwtSettings([publicKeySettings(keyPair('EdDSA'))]) }))
    assert.ok(!JSON.stringify(keys).includes(Buffer.from(SECRET).toString('base64')))
  })
})

suite('refusals', () => {
  test('the challenge of RFC 6750 §3 goes with the status', () => {
    const refusal = (code: Refused['code'], missing = false): ViewerRefused => new ViewerRefused({ ok: false, code, detail: 'why', missing })
    assert.equal(refusal('RELAY_ERR_VIEWER_UNAUTHORIZED', true).challenge, 'Bearer')
    for (const code of ['RELAY_ERR_VIEWER_UNAUTHORIZED', 'RELAY_ERR_VIEWER_TOKEN_EXPIRED', 'RELAY_ERR_VIEWER_TOKEN_EARLY'] as const) {
      assert.deepEqual([refusal(code).status, refusal(code).challenge], [401, 'Bearer error="invalid_token", error_description="why"'])
    }
    assert.deepEqual([refusal('RELAY_ERR_VIEWER_SCOPE').status, refusal('RELAY_ERR_VIEWER_SCOPE').challenge], [403, 'Bearer error="insufficient_scope", error_description="why"'])
    assert.deepEqual([refusal('RELAY_ERR_VIEWER_VERIFIER_BUSY').status, refusal('RELAY_ERR_VIEWER_VERIFIER_BUSY').challenge], [503, undefined])
    assert.ok(ERRORS.RELAY_ERR_VIEWER_VERIFIER_BUSY.retryable)
  })

  test('no verdict repeats a token, whatever it is', async () => {
    const { judge } = rig()
    const token = fc.string({ unit: fc.integer({ min: 0x21, max: 0x7e }).map(code => String.fromCharCode(code)), minLength: 8, maxLength: 9_000 })
    await fc.assert(fc.asyncProperty(token, async text => {
      for (const credentials of [{ token: text }, { token: undefined, url: { target: `/shards/a/shard_0.bin?sig=${encodeURIComponent(text)}`, ip: undefined } }]) {
        const verdict = await judge.judge(credentials, 'QmA')
        assert.ok(!verdict.ok)
        const error = new ViewerRefused(verdict)
        assert.ok(![JSON.stringify(verdict), error.message, error.stack ?? '', error.challenge ?? ''].some(shown => shown.includes(text)))
      }
    }))
  })
})

test('a token is a bearer field, else the query', () => {
  assert.equal(requestToken(undefined, '/x?token=a%2Bb&token=c'), 'a+b')
  assert.equal(requestToken(undefined, '/x?token=%'), '%')
  assert.equal(requestToken('Bearer x', '/x?token=y'), 'x')
  assert.equal(requestToken('bearer  x ', '/x'), 'x')
  for (const [field, target] of [['Basic x', '/x'], ['Bearer', '/x'], [undefined, '/x?token='], [undefined, '/x'], ['', '/?TOKEN=x']] as const) assert.equal(requestToken(field, target), undefined)
})
