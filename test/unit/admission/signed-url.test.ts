import assert from 'node:assert/strict'
import { createHmac } from 'node:crypto'
import { suite, test } from 'node:test'
import fc from 'fast-check'
import { signQuery, SignedUrls, signUrl, type UrlScope } from '../../../src/admission/signed-url.ts'
import type { Verdict } from '../../../src/admission/verdict.ts'
import { EPOCH_S } from '../../support/jwt.ts'

const KEY = { kid: '2030-01', secret: 'k'.repeat(32) }
const NEXT = { kid: '2030-02', secret: 'n'.repeat(32) }
const PATH = '/shards/QmAbc/shard_0.bin'
const MANIFEST = '/shards/QmAbc/manifest.json'
const PREFIX = '/shards/QmAbc/'
const NOW = (EPOCH_S - 60) * 1_000

const urls = new SignedUrls([KEY, NEXT])
const judge = (target: string, ip: string | undefined = '192.0.2.1', now = NOW): Verdict | undefined => urls.judge(target, ip, now)
const codeOf = (verdict: Verdict | undefined): string => verdict === undefined ? 'none' : verdict.ok ? 'ok' : verdict.code
const scope = (overrides: Partial<UrlScope> = {}): UrlScope => ({ path: PATH, expiresAt: EPOCH_S, ...overrides })

suite('signed URLs', () => {
  test('a signed path opens that path, shard or manifest, until it expires', () => {
    for (const path of [PATH, MANIFEST, '/shards/QmAbc/shard_05.bin']) {
      assert.deepEqual(judge(signUrl(scope({ path }), KEY)), { ok: true, expiresAt: EPOCH_S * 1_000 })
    }
    const url = signUrl(scope(), KEY)
    assert.equal(codeOf(judge(url, undefined, EPOCH_S * 1_000 - 1)), 'ok')
    for (const late of [0, 1, 1e9]) assert.equal(codeOf(judge(url, undefined, EPOCH_S * 1_000 + late)), 'RELAY_ERR_VIEWER_TOKEN_EXPIRED')
  })

  test('the form is the documented one, so that signers in other languages can be written', () => {
    const message = ['icn-relay signed url 1', 'path', PATH, EPOCH_S, KEY.kid, '', '', ''].join('\n')
    assert.equal(signUrl(scope(), KEY), `${PATH}?exp=${EPOCH_S}&kid=2030-01&sig=${createHmac('sha256', KEY.secret).update(message).digest('base64url')}`)
    const full = ['icn-relay signed url 1', 'prefix', PREFIX, EPOCH_S, NEXT.kid, 'user@example.org', '192.0.2.1', 'gold'].join('\n')
    assert.equal(signQuery({ path: PREFIX, expiresAt: EPOCH_S, viewer: 'user@example.org', ip: '192.0.2.1', class: 'gold' }, NEXT),
      `exp=${EPOCH_S}&kid=2030-02&prefix=/shards/QmAbc/&viewer=user%40example.org&ip=192.0.2.1&class=gold&sig=${createHmac('sha256', NEXT.secret).update(full).digest('base64url')}`)
  })

  test('a prefix opens all paths below it and no other', () => {
    const query = signQuery(scope({ path: PREFIX }), KEY)
    for (const path of [PATH, MANIFEST]) assert.equal(codeOf(judge(`${path}?${query}`)), 'ok')
    for (const path of ['/shards/QmAbcd/shard_0.bin', '/shards/QmAb/shard_0.bin', '/shards/QmAbc', '/', '/shards/qmabc/shard_0.bin', '/x/shards/QmAbc/shard_0.bin']) {
      assert.equal(codeOf(judge(`${path}?${query}`)), 'RELAY_ERR_VIEWER_SCOPE', path)
    }
    assert.equal(codeOf(judge(`/shards/Other/shard_0.bin?${signQuery(scope({ path: '/shards/' }), KEY)}`)), 'ok')
    assert.equal(codeOf(judge(signUrl(scope(), KEY).replace('shard_0', 'shard_1'))), 'RELAY_ERR_VIEWER_UNAUTHORIZED')
  })

  test('keys are rotated by kid: every configured one counts, the secret of one does not sign for another', () => {
    assert.equal(codeOf(judge(signUrl(scope(), NEXT))), 'ok')
    assert.equal(codeOf(judge(signUrl(scope(), { kid: NEXT.kid, secret: KEY.secret }))), 'RELAY_ERR_VIEWER_UNAUTHORIZED')
    assert.equal(codeOf(judge(signUrl(scope(), { kid: 'gone', secret: KEY.secret }))), 'RELAY_ERR_VIEWER_UNAUTHORIZED')
    assert.equal(codeOf(new SignedUrls([NEXT]).judge(signUrl(scope(), KEY), undefined, NOW)), 'RELAY_ERR_VIEWER_UNAUTHORIZED')
  })

  test('viewer and class are told, an address is held to, in any of its spellings', () => {
    const url = signUrl(scope({ viewer: 'v-1', class: 'gold', ip: '2001:db8::1' }), KEY)
    assert.deepEqual(judge(url, '2001:db8:0:0::1'), { ok: true, identity: 'v-1', class: 'gold', expiresAt: EPOCH_S * 1_000 })
    for (const ip of ['2001:db8::2', '192.0.2.1', '', undefined]) assert.equal(codeOf(urls.judge(url, ip, NOW)), 'RELAY_ERR_VIEWER_SCOPE')
    const four = signUrl(scope({ ip: '192.0.2.1' }), KEY)
    for (const ip of ['::ffff:192.0.2.1', '::ffff:c000:201']) assert.equal(codeOf(judge(four, ip)), 'ok')
    for (const ip of ['::192.0.2.1', '64:ff9b::192.0.2.1']) assert.equal(codeOf(judge(four, ip)), 'RELAY_ERR_VIEWER_SCOPE')
    assert.equal(codeOf(judge(four, '192.0.2.10')), 'RELAY_ERR_VIEWER_SCOPE')
  })

  test('no part of a URL can be changed, added, doubled or taken away', () => {
    const url = signUrl(scope({ viewer: 'v-1', ip: '192.0.2.1' }), KEY)
    const [path = '', query = ''] = url.split('?')
    const parameters = query.split('&')
    const refused = [
      ...parameters.flatMap((parameter, position) => [
        // Without the signature it is not a signed URL at all.
        ...parameter.startsWith('sig=') ? [] : [parameters.toSpliced(position, 1)],
        [...parameters, parameter], parameters.toSpliced(position, 1, `${parameter}x`), parameters.toSpliced(position, 1, parameter.slice(0, -1)), parameters.toSpliced(position, 1, parameter.replace(/=.*/, '='))
      ]),
      [...parameters, 'class=gold'], [...parameters, 'prefix=/shards/QmAbc/'], [...parameters, 'prefix='], [...parameters, '%73ig=x'],
      parameters.map(parameter => parameter.replace('exp=', 'exp=0')), parameters.map(parameter => parameter.replace('exp=', 'exp=%2B')), parameters.map(parameter => parameter.replace(/^exp=.*/, 'exp=99999999999'))
    ]
    assert.equal(codeOf(judge(url)), 'ok')
    for (const mutant of refused) assert.equal(codeOf(judge(`${path}?${mutant.join('&')}`)), 'RELAY_ERR_VIEWER_UNAUTHORIZED', mutant.join('&'))
    // Order, and parameters of others, are nobody's business.
    for (const fine of [[...parameters].reverse(), ['utm=1', ...parameters, 'exp2=5']]) assert.equal(codeOf(judge(`${path}?${fine.join('&')}`)), 'ok')
  })

  test('every change of one character of the signature is refused, the bits that decoding drops included', () => {
    const url = signUrl(scope(), KEY)
    const start = url.indexOf('sig=') + 4
    for (let position = start; position < url.length; position++) {
      for (const char of 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_') {
        if (char === url[position]) continue
        assert.equal(codeOf(judge(url.slice(0, position) + char + url.slice(position + 1))), 'RELAY_ERR_VIEWER_UNAUTHORIZED')
      }
    }
  })

  test('a target without a signature carries none; any other gets an answer and no exception', () => {
    for (const target of ['', '/', PATH, `${PATH}?`, `${PATH}?exp=1&kid=a`, `${PATH}?token=x`]) assert.equal(judge(target), undefined)
    const text = fc.string({ unit: fc.constantFrom(...'sigexpkidprefixvieweripclass=&?%/+.0123456789AZaz-_ \u00e4') })
    fc.assert(fc.property(text, text, (path, rest) => {
      assert.equal(codeOf(judge(`/${path.replaceAll('?', '')}?sig=${rest}`)), 'RELAY_ERR_VIEWER_UNAUTHORIZED')
    }), { numRuns: 2_000 })
  })

  test('two scopes never have one signature', () => {
    const visible = fc.string({ unit: fc.integer({ min: 0x21, max: 0x7e }).map(code => String.fromCharCode(code)), minLength: 1, maxLength: 20 })
    const arbitrary = fc.record({
      path: fc.constantFrom(PATH, MANIFEST, PREFIX, '/shards/'),
      expiresAt: fc.integer({ min: 1, max: 20 }),
      viewer: fc.option(visible, { nil: undefined }),
      ip: fc.option(fc.constantFrom('192.0.2.1', '192.0.2.11', '::1'), { nil: undefined }),
      class: fc.option(fc.constantFrom('gold', '192', 'x'), { nil: undefined })
    }).map(({ path, expiresAt, viewer, ip, class: name }): UrlScope => ({
      path, expiresAt, ...viewer === undefined ? {} : { viewer }, ...ip === undefined ? {} : { ip }, ...name === undefined ? {} : { class: name }
    }))
    fc.assert(fc.property(arbitrary, arbitrary, (one, other) => {
      const [first, second] = [signQuery(one, KEY), signQuery(other, KEY)].map(query => new URLSearchParams(query).get('sig'))
      assert.equal(first === second, JSON.stringify(one) === JSON.stringify(other))
    }))
    fc.assert(fc.property(arbitrary, one => {
      const path = one.path.endsWith('/') ? PATH : one.path
      assert.deepEqual(urls.judge(`${path}?${signQuery(one, KEY)}`, one.ip ?? '198.51.100.1', 0), {
        ok: true, ...one.viewer === undefined ? {} : { identity: one.viewer }, ...one.class === undefined ? {} : { class: one.class }, expiresAt: one.expiresAt * 1_000
      })
    }))
  })

  test('what cannot be judged is not signed', () => {
    for (const wrong of [
      { path: '/other/x' }, { path: '/shards/a/b/' }, { path: '/shards/a/../b/shard_0.bin' }, { path: '/shards/a/shard_99.bin' }, { path: `${PATH}?x=1` }, { path: '' }, { path: '/' },
      { expiresAt: 1.5 }, { expiresAt: -1 }, { expiresAt: 0 }, { expiresAt: Number.NaN }, { expiresAt: 1e12 }, { viewer: '' }, { viewer: 'a\nb' }, { ip: 'x' }, { ip: '' }, { class: 'a b' }
    ]) assert.throws(() => signUrl(scope(wrong), KEY), JSON.stringify(wrong))
    assert.throws(() => signUrl(scope(), { ...KEY, kid: 'a&b' }), RangeError)
  })
})
