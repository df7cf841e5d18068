import assert from 'node:assert/strict'
import { createHmac, generateKeyPairSync } from 'node:crypto'
import { suite, test } from 'node:test'
import fc from 'fast-check'
import { grantOf } from '../../../src/admission/jwt-claims.ts'
import { JwtVerifier } from '../../../src/admission/jwt-verifier.ts'
import { CID_PREFIX, CLASS_NAME, IDENTITY, MAX_CID_PREFIXES } from '../../../src/admission/verdict.ts'
import { RelayError } from '../../../src/base/errors.ts'
import { jwksKeys, MAX_JWT_KEYS, pemKey, secretKey } from '../../../src/plugins/auth/jwt-keys.ts'
import { EPOCH_S, jwtSettings, keyPair, makeJwt, publicKeySettings, SECRET } from '../../support/jwt.ts'

const ed = keyPair('EdDSA')
const rsa = keyPair('RS256')
const CLAIMS = { cid: 'Qm', sub: 'viewer-1', exp: EPOCH_S }
const GRANT = { identity: 'viewer-1', cidPrefixes: ['Qm'], expiresAt: EPOCH_S * 1_000 }
const INVALID = 'the token is not valid'

const base64url = (value: unknown): string => Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url')

/** A token with this header, signed by HMAC with whatever text is given. */
function forged (header: Record<string, unknown>, secret: string | Buffer): string {
  const input = `${base64url(header)}.${base64url(CLAIMS)}`
  return `${input}.${createHmac('sha256', secret).update(input).digest('base64url')}`
}

suite('signatures', () => {
  test('HS256, EdDSA, the ES family and RS256 are accepted, each with its own key beside all others', async () => {
    const pairs = [ed, rsa, keyPair('ES256'), keyPair('ES384'), keyPair('ES512')]
    const verifier = new JwtVerifier(jwtSettings([secretKey(SECRET, 'test'), ...pairs.map(publicKeySettings)]))
    for (const key of [SECRET, ...pairs]) assert.deepEqual(await verifier.verify(await makeJwt(CLAIMS, key)), GRANT)
    // The name that RFC 9864 gives EdDSA.
    assert.deepEqual(await verifier.verify(await makeJwt(CLAIMS, ed, { alg: 'Ed25519' })), GRANT)
  })

  test('a token of another key of the same kind is refused', async () => {
    const verifier = new JwtVerifier(jwtSettings([secretKey(SECRET, 'test'), publicKeySettings(ed), publicKeySettings(rsa)]))
    for (const key of [`${SECRET}!`, keyPair('EdDSA'), keyPair('RS256'), keyPair('ES256')]) assert.equal(await verifier.verify(await makeJwt(CLAIMS, key)), INVALID)
  })

  for (const [name, key] of [['HS256', SECRET], ['EdDSA', ed]] as const) {
    test(`every change of one character of a token by ${name} is refused`, async () => {
      const verifier = new JwtVerifier(jwtSettings(typeof key === 'string' ? undefined : [publicKeySettings(key)]))
      const token = await makeJwt(CLAIMS, key)
      assert.deepEqual(await verifier.verify(token), GRANT)
      const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
      const mutants: string[] = []
      for (let position = 0; position < token.length; position++) {
        const [before, char = '', after] = [token.slice(0, position), token[position], token.slice(position + 1)]
        // One bit of the octet, each of the eight; the neighbours in the alphabet, which differ in the bits that decoding may drop.
        const code = char.charCodeAt(0)
        const others = [...Array.from({ length: 8 }, (_, bit) => String.fromCharCode(code ^ 1 << bit)), ...[1, 2, 4, 63].map(by => alphabet[(alphabet.indexOf(char) + by + 64) % 64] ?? ''), '.', '=', '']
        for (const other of others) if (other !== char) mutants.push(before + other + after)
      }
      // The last character of a signature has bits that stand for nothing.
      for (const char of alphabet) if (!token.endsWith(char)) mutants.push(token.slice(0, -1) + char)
      for (const mutant of [...mutants, `${token}=`, `${token}==`, ` ${token}`, `${token} `, `${token}\n`, `${token}.`, `.${token}`, `${token}.${token}`]) {
        assert.equal(typeof await verifier.verify(mutant), 'string', mutant)
      }
    })
  }

  test('a public key is not a secret: HS256 with the PEM, DER, JWK or raw form of a configured public key is refused', async () => {
    for (const key of [ed, rsa]) {
      const verifier = new JwtVerifier(jwtSettings([publicKeySettings(key)]))
      const jwk = key.publicKey.export({ format: 'jwk' })
      const secrets = [key.pem, key.pem.trim(), key.publicKey.export({ format: 'der', type: 'spki' }), JSON.stringify(jwk), Buffer.from(jwk.x ?? jwk.n ?? '', 'base64url')]
      for (const secret of secrets) {
        for (const alg of ['HS256', 'HS384', 'HS512', key.alg]) assert.equal(await verifier.verify(forged({ alg }, secret)), INVALID)
      }
    }
  })

  test('an algorithm that is not that of the key is refused: none, its spellings, and other hashes of the same secret', async () => {
    const verifier = new JwtVerifier(jwtSettings([secretKey(SECRET, 'test'), publicKeySettings(rsa)]))
    for (const alg of ['none', 'None', 'NONE', 'nOnE', '', 'HS384', 'HS512', 'hs256', 'RS256', 'EdDSA', 'constructor', '__proto__', 'A128KW', null, 5, ['HS256'], undefined]) {
      assert.equal(await verifier.verify(forged({ alg }, SECRET)), INVALID, String(alg))
      assert.equal(await verifier.verify(`${base64url({ alg })}.${base64url(CLAIMS)}.`), INVALID, String(alg))
      assert.equal(await verifier.verify(`${base64url({ alg })}.${base64url(CLAIMS)}.AA`), INVALID, String(alg))
    }
    // RS512 is a good signature by the right key, which is pinned to RS256.
    assert.equal(await verifier.verify(await makeJwt(CLAIMS, { ...rsa, alg: 'RS512' })), INVALID)
    assert.equal(await verifier.verify(await makeJwt(CLAIMS, { ...rsa, alg: 'PS256' })), INVALID)
  })

  test('keys that the token brings along, and extensions nobody knows, are refused', async () => {
    const own = keyPair('EdDSA')
    const verifier = new JwtVerifier(jwtSettings([publicKeySettings(ed)]))
    for (const header of [{ jwk: own.publicKey.export({ format: 'jwk' }) }, { jku: 'https://attacker.example/jwks' }, { x5u: 'https://attacker.example/' }]) {
      assert.equal(await verifier.verify(await makeJwt(CLAIMS, own, header)), INVALID)
    }
    for (const header of [{ crit: ['b64'], b64: false }, { crit: ['x'], x: 1 }, { b64: true }, { crit: [] }]) {
      assert.equal(await verifier.verify(forged({ alg: 'HS256', ...header }, SECRET)), INVALID)
      assert.equal(await new JwtVerifier(jwtSettings()).verify(forged({ alg: 'HS256', ...header }, SECRET)), INVALID)
    }
  })

  test('whatever comes for a token, the answer is a grant or constant text, and never a rejection', async () => {
    const verifier = new JwtVerifier(jwtSettings([secretKey(SECRET, 'test'), publicKeySettings(ed)]))
    const part = fc.oneof(fc.string(), fc.base64String(), fc.json().map(base64url), fc.constantFrom('', base64url({ alg: 'HS256' }), base64url({ alg: 'EdDSA' })))
    await fc.assert(fc.asyncProperty(fc.oneof(fc.string(), fc.string({ unit: 'binary' }), fc.array(part, { maxLength: 6 }).map(parts => parts.join('.'))), async token => {
      assert.equal(await verifier.verify(token), INVALID)
    }), { numRuns: 500 })
  })
})

suite('keys by kid', () => {
  const [one, two] = [keyPair('EdDSA'), keyPair('EdDSA')]
  const jwks = (...entries: object[]): string => JSON.stringify({ keys: entries })
  const jwk = ({ publicKey }: { publicKey: typeof one.publicKey }, more: object = {}): object => ({ ...publicKey.export({ format: 'jwk' }), ...more })

  test('a token with kid is checked by that key, one without by any', async () => {
    const verifier = new JwtVerifier(jwtSettings(jwksKeys(jwks(jwk(one, { kid: 'a' }), jwk(two, { kid: 'b' })), 'test')))
    assert.deepEqual(await verifier.verify(await makeJwt(CLAIMS, one, { kid: 'a' })), GRANT)
    assert.deepEqual(await verifier.verify(await makeJwt(CLAIMS, two, { kid: 'b' })), GRANT)
    assert.deepEqual(await verifier.verify(await makeJwt(CLAIMS, two)), GRANT)
    assert.equal(await verifier.verify(await makeJwt(CLAIMS, one, { kid: 'b' })), INVALID)
    assert.equal(await verifier.verify(await makeJwt(CLAIMS, one, { kid: 'c' })), INVALID)
    assert.equal(await verifier.verify(forged({ alg: 'EdDSA', kid: 5 }, SECRET)), INVALID)
  })

  test('the algorithm of a JWK is its alg, or what its type says', async () => {
    const rs = rsa.publicKey.export({ format: 'jwk' })
    assert.deepEqual(jwksKeys(jwks({ ...rs, alg: 'PS512' }, rs, jwk(ed, { alg: 'Ed25519' }), jwk(keyPair('ES384'))), 'test').map(({ algorithms }) => algorithms), [['PS512'], ['RS256'], ['EdDSA', 'Ed25519'], ['ES384']])
    const verifier = new JwtVerifier(jwtSettings(jwksKeys(jwks({ ...rs, alg: 'PS512' }), 'test')))
    assert.deepEqual(await verifier.verify(await makeJwt(CLAIMS, { ...rsa, alg: 'PS512' })), GRANT)
    assert.equal(await verifier.verify(await makeJwt(CLAIMS, rsa)), INVALID)
  })

  test('keys for other uses and of unknown kinds are passed over', () => {
    const others = [jwk(one, { use: 'enc' }), jwk(one, { key_ops: ['sign'] }), { kty: 'XYZ' }, {}, jwk(one, { alg: 'RS256' }), { ...generateKeyPairSync('x25519').publicKey.export({ format: 'jwk' }) }, generateKeyPairSync('rsa', { modulusLength: 1_024 }).publicKey.export({ format: 'jwk' })]
    assert.equal(jwksKeys(jwks(...others, jwk(one, { use: 'sig', key_ops: ['verify'] })), 'test').length, 1)
  })

  test('a set that cannot be used is an error that names it and repeats nothing of it', () => {
    const secret = 'c2VjcmV0LXNlY3JldC1zZWNyZXQ'
    const cases: [string, RegExp][] = [
      [`not json ${secret}`, /is not JSON$/],
      ['[]', /is not a JWK Set/], ['null', /is not a JWK Set/], ['{"keys":{}}', /is not a JWK Set/],
      [jwks(), /has no key that signs JWTs$/], [jwks({ kty: 'RSA' }), /has no key that signs JWTs$/],
      [jwks({ kty: 'oct', k: secret }), /key 0 is secret/], [jwks(jwk(one), one.privateKey.export({ format: 'jwk' })), /key 1 is secret/],
      ['{"keys":[5]}', /key 0 is not a JWK$/], ['{"keys":[null]}', /key 0 is not a JWK$/], [jwks(jwk(one, { kid: 5 })), /has a kid that is not text$/],
      [jwks(...Array.from({ length: MAX_JWT_KEYS + 1 }, () => jwk(one))), /has more than 64 keys$/]
    ]
    for (const [text, expected] of cases) {
      assert.throws(() => jwksKeys(text, 'auth.jwt.jwks_file /f'), (error: unknown) => {
        assert.ok(error instanceof RelayError && error.code === 'RELAY_ERR_CONFIG')
        assert.match(error.message, /^auth\.jwt\.jwks_file \/f /)
        assert.match(error.message, expected)
        assert.ok(!error.message.includes(secret))
        return true
      })
    }
  })

  test('a PEM file holds a public key that signs, a secret is long enough and no public key', () => {
    const privatePem = ed.privateKey.export({ format: 'pem', type: 'pkcs8' }).toString()
    const weak = generateKeyPairSync('rsa', { modulusLength: 1_024 }).publicKey.export({ format: 'pem', type: 'spki' }).toString()
    const exchange = generateKeyPairSync('x25519').publicKey.export({ format: 'pem', type: 'spki' }).toString()
    for (const text of [privatePem, weak, exchange, '', 'x', SECRET]) {
      assert.throws(() => pemKey(text, 'the key'), (error: unknown) => error instanceof RelayError && error.message.startsWith('the key ') && !error.message.includes(SECRET))
    }
    for (const text of ['', 'short', 'x'.repeat(31), ed.pem]) assert.throws(() => secretKey(text, 'the key'), { name: 'RelayError', code: 'RELAY_ERR_CONFIG' })
    assert.deepEqual(secretKey(`${SECRET}\r\n`, 'x'), secretKey(SECRET, 'x'))
  })
})

suite('claims', () => {
  const settings = jwtSettings()
  const grant = (claims: unknown, overrides = {}): ReturnType<typeof grantOf> => grantOf(Buffer.from(JSON.stringify(claims)), { ...settings, ...overrides })

  test('scope, class and identity', () => {
    assert.deepEqual(grant({ exp: 1 }), { expiresAt: 1_000 })
    assert.deepEqual(grant({ exp: 1, nbf: 0, cids: ['a', 'b'], cid: 'c', class: 'gold', sub: 'x' }), { identity: 'x', class: 'gold', cidPrefixes: ['c', 'a', 'b'], notBefore: 0, expiresAt: 1_000 })
    assert.deepEqual(grant({ exp: 1, cid: [] }), { cidPrefixes: [], expiresAt: 1_000 }, 'a scope of nothing is not the scope of everything')
    for (const name of ['', 'a b', 'ä', 5, null, ['gold'], 'x'.repeat(33)]) assert.deepEqual(grant({ exp: 1, class: name }), { expiresAt: 1_000 }, 'a class that is none is the default one')
  })

  test('what is not understood is refused and not guessed', () => {
    for (const claims of [
      { cid: '' }, { cid: 5 }, { cid: null }, { cid: ['a', 5] }, { cid: ['a', ''] }, { cids: { a: 1 } }, { cid: 'a/b' }, { cid: '*' }, { cid: 'x'.repeat(129) },
      { cids: Array.from({ length: MAX_CID_PREFIXES + 1 }, () => 'a') }, { cid: 'a', cids: Array.from({ length: MAX_CID_PREFIXES }, () => 'a') },
      { exp: '1' }, { exp: 1e306 }, { nbf: -1e306 }, { exp: null }, { nbf: '1' }, { nbf: {} }, { sub: 5 }, { sub: '' }, { sub: 'a b' }, { sub: 'x'.repeat(257) }
    ]) assert.equal(typeof grant({ exp: 1, ...claims }), 'string', JSON.stringify(claims))
    assert.equal(typeof grant({ exp: 1, cids: Array.from({ length: MAX_CID_PREFIXES }, () => 'a') }), 'object')
    for (const payload of ['', 'null', '[]', '5', '"x"', '{', '\xff']) assert.equal(grantOf(Buffer.from(payload, 'latin1'), settings), 'the token holds no claims')
  })

  test('exp is required unless configured otherwise; issuer and audience count when configured', () => {
    assert.equal(grant({}), 'the token has no exp claim')
    assert.deepEqual(grant({}, { requireExp: false }), {})
    assert.deepEqual(grant({ exp: 1, iss: 'anybody', aud: 'anywhere' }), { expiresAt: 1_000 })
    for (const [claims, ok] of [[{ iss: 'a' }, true], [{ iss: 'b' }, false], [{}, false], [{ iss: ['a'] }, false]] as const) assert.equal(typeof grant({ exp: 1, ...claims }, { issuer: 'a' }) === 'object', ok, JSON.stringify(claims))
    for (const [claims, ok] of [[{ aud: 'a' }, true], [{ aud: ['b', 'a'] }, true], [{ aud: 'ab' }, false], [{ aud: ['b'] }, false], [{}, false], [{ aud: { a: 1 } }, false]] as const) assert.equal(typeof grant({ exp: 1, ...claims }, { audience: 'a' }) === 'object', ok, JSON.stringify(claims))
  })

  test('the clock tolerance widens both ends', () => {
    assert.deepEqual(grant({ exp: 100, nbf: 50 }, { clockToleranceMs: 5_000 }), { notBefore: 45_000, expiresAt: 105_000 })
  })

  test('any claims give a bounded, well-formed grant or a text that repeats none of them', () => {
    const name = fc.constantFrom('exp', 'nbf', 'cid', 'cids', 'class', 'sub', 'iss', 'aud', 'x')
    const value = fc.oneof(fc.jsonValue(), fc.string(), fc.double(), fc.array(fc.string(), { maxLength: 80 }), fc.constantFrom('Qm', 1, EPOCH_S))
    const texts = new Set<string>()
    const demands = fc.constantFrom({}, { requireExp: false }, { requireExp: false, issuer: 'me' }, { audience: 'you' })
    fc.assert(fc.property(fc.dictionary(name, value), demands, (claims, overrides) => {
      const got = grant(claims, overrides)
      if (typeof got === 'string') return void texts.add(got)
      for (const prefix of got.cidPrefixes ?? []) assert.match(prefix, CID_PREFIX)
      assert.ok((got.cidPrefixes?.length ?? 0) <= MAX_CID_PREFIXES)
      if (got.identity !== undefined) assert.match(got.identity, IDENTITY)
      if (got.class !== undefined) assert.match(got.class, CLASS_NAME)
    }), { numRuns: 2_000 })
    assert.ok(texts.size > 0 && texts.size < 12, [...texts].join('; '))
  })
})
