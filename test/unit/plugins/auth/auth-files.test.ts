import assert from 'node:assert/strict'
import { rename, rm, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { suite, test, type TestContext } from 'node:test'
import fc from 'fast-check'
import { stringify } from 'smol-toml'
import { parseCommandLine } from '../../../../src/cli/arguments.ts'
import { authFiles, plaintextTokens, readAuth } from '../../../../src/plugins/auth/auth-files.ts'
import { AuthStore } from '../../../../src/plugins/auth/auth-store.ts'
import type { AuthSettings } from '../../../../src/admission/auth-settings.ts'
import { SignedUrls } from '../../../../src/admission/signed-url.ts'
import { hashedToken, tokenHash } from '../../../../src/admission/static-tokens.ts'
import { hashToken, signedUrl } from '../../../../src/cli/tokens.ts'
import { checkConfig, loadConfig, type Config } from '../../../../src/config/config.ts'
import { deferred } from '../../../../src/base/deferred.ts'
import { RelayError } from '../../../../src/base/errors.ts'
import { keyPair, SECRET } from '../../../support/jwt.ts'
import { temporaryDirectory } from '../../../../tools/harness/temporary-directory.ts'

const authConfig = (auth: Record<string, unknown>): Config['auth'] => checkConfig({ auth }).auth

async function directoryWith (t: TestContext, files: Record<string, string>): Promise<(name: string) => string> {
  const directory = await temporaryDirectory(t)
  for (const [name, text] of Object.entries(files)) await writeFile(join(directory, name), text)
  return name => join(directory, name)
}

async function problem (work: () => unknown): Promise<string> {
  try {
    await work()
  } catch (error) {
    assert.ok(error instanceof RelayError && error.code === 'RELAY_ERR_CONFIG', String(error))
    return error.message
  }
  return assert.fail('accepted')
}

suite('files', () => {
  test('everything the configuration names is read', async t => {
    const key = keyPair('EdDSA')
    const at = await directoryWith(t, { secret: `${SECRET}\n`, 'key.pem': key.pem, jwks: JSON.stringify({ keys: [keyPair('ES256').publicKey.export({ format: 'jwk' })] }), url: `${'u'.repeat(40)}\n` })
    const config = authConfig({
      require: true,
      tokens: [hashedToken('x'.repeat(16)), 'y'.repeat(16), { token: hashedToken('z'.repeat(16)), class: 'gold', cid_prefixes: ['Qm'] }],
      jwt: { hs256_secret_file: at('secret'), public_key_files: [at('key.pem')], jwks_file: at('jwks'), issuer: 'me', clock_tolerance_ms: 7 },
      signed_urls: { keys: [{ kid: 'a', secret_file: at('url') }, { kid: 'b', secret: 'v'.repeat(32) }] }
    })
    const { jwt, ...rest } = await readAuth(config)
    assert.deepEqual(rest, {
      require: true,
      tokens: [{ hash: tokenHash('x'.repeat(16)) }, { hash: tokenHash('y'.repeat(16)) }, { hash: tokenHash('z'.repeat(16)), class: 'gold', cidPrefixes: ['Qm'] }],
      signedUrlKeys: [{ kid: 'a', secret: 'u'.repeat(40) }, { kid: 'b', secret: 'v'.repeat(32) }]
    })
    assert.deepEqual(jwt?.keys.map(({ algorithms }) => algorithms[0]), ['HS256', 'EdDSA', 'ES256'])
    assert.deepEqual([jwt?.issuer, jwt?.audience, jwt?.requireExp, jwt?.clockToleranceMs], ['me', undefined, true, 7])
    assert.deepEqual(authFiles(config).sort(), ['jwks', 'key.pem', 'secret', 'url'].map(at).sort())
    assert.deepEqual(plaintextTokens(config), ['auth.tokens.1'])
    assert.deepEqual(await readAuth(authConfig({})), { require: false, tokens: [], signedUrlKeys: [] })
  })

  test('a file that is missing, too large or wrong is named with its key, and nothing of it is repeated', async t => {
    const at = await directoryWith(t, { noise: 'hunter2 hunter2 hunter2 hunter2 hunter2', short: 'hunter2', large: 'hunter2' })
    await truncate(at('large'), 1_048_577)
    const cases: [Record<string, unknown>, string, RegExp][] = [
      [{ jwt: { hs256_secret_file: at('none') } }, `auth.jwt.hs256_secret_file ${at('none')}`, /cannot be read: ENOENT$/],
      [{ jwt: { jwks_file: at('.') } }, `auth.jwt.jwks_file ${at('.')}`, /cannot be read: EISDIR$/],
      [{ jwt: { hs256_secret_file: at('short') } }, `auth.jwt.hs256_secret_file ${at('short')}`, /must have at least 32 bytes$/],
      [{ jwt: { hs256_secret: 'hunter2' } }, 'auth.jwt.hs256_secret', /must have at least 32 bytes$/],
      [{ jwt: { public_key_files: [at('noise')] } }, `auth.jwt.public_key_files.0 ${at('noise')}`, /is not a public key/],
      [{ jwt: { jwks_file: at('noise') } }, `auth.jwt.jwks_file ${at('noise')}`, /is not JSON$/],
      [{ jwt: { jwks_file: at('large') } }, `auth.jwt.jwks_file ${at('large')}`, /is larger than 1048576 bytes$/],
      [{ signed_urls: { keys: [{ kid: 'a', secret_file: at('short') }] } }, `auth.signed_urls.keys.0.secret_file ${at('short')}`, /must have at least 32 bytes$/],
      [{ signed_urls: { keys: [{ kid: 'a', secret_file: at('none') }] } }, `auth.signed_urls.keys.0.secret_file ${at('none')}`, /cannot be read: ENOENT$/]
    ]
    for (const [auth, named, expected] of cases) {
      const message = await problem(async () => await readAuth(authConfig(auth)))
      assert.ok(message.startsWith(`${named} `), message)
      assert.match(message, expected)
      assert.doesNotMatch(message, /hunter2/)
    }
  })
})

suite('secrets and mistakes', () => {
  const secret = fc.string({ unit: fc.integer({ min: 0x21, max: 0x7e }).map(code => String.fromCharCode(code)), minLength: 12, maxLength: 600 })

  test('no message about the configuration repeats a secret, whatever is wrong with it or beside it', async t => {
    const at = await directoryWith(t, { 'relay.toml': '', 'secret.pem': '' })
    const places: ((text: string) => Record<string, unknown>)[] = [
      text => ({ auth: { tokens: [text] } }),
      text => ({ auth: { tokens: text } }),
      text => ({ auth: { tokens: [[text]] } }),
      text => ({ auth: { tokens: [`sha256:${text}`] } }),
      text => ({ auth: { tokens: [text, text] } }),
      text => ({ auth: { tokens: [{ token: text, class: '!' }] } }),
      text => ({ auth: { tokens: [{ token: text, clazz: 'a' }] } }),
      text => ({ auth: { tokens: [{ token: [text] }] } }),
      text => ({ auth: { require: text } }),
      text => ({ auth: { jwt: text } }),
      text => ({ auth: { jwt: { hs256_secret: text, hs256_secret_file: '/x' } } }),
      text => ({ auth: { jwt: { hs256_secret: text.slice(0, 31) } } }),
      text => ({ auth: { jwt: { hs256_secret: [text] } } }),
      text => ({ auth: { signed_urls: { keys: [{ kid: 'a', secret: text, secret_file: '/x' }] } } }),
      text => ({ auth: { signed_urls: { keys: [{ kid: 'a b', secret: text }] } } }),
      text => ({ auth: { signed_urls: { keys: [{ secret: text }] } } }),
      text => ({ admin: { tokens: [{ token: text, scope: 'root' }] } })
    ]
    const spoil = fc.constantFrom<(toml: string) => string>(toml => toml, toml => `${toml}\n[`, toml => toml.replace(/"$/m, ''), toml => `${toml}\n[auth]\n`, toml => toml.replaceAll('"', '”'), toml => toml.replace('=', '= ='))
    await fc.assert(fc.asyncProperty(secret, fc.constantFrom(...places), spoil, async (text, place, broken) => {
      await writeFile(at('relay.toml'), broken(stringify(place(text))))
      await writeFile(at('secret.pem'), text)
      const works = [
        () => loadConfig(parseCommandLine(['--config', at('relay.toml')]).flags, {}),
        async () => await readAuth(loadConfig(parseCommandLine(['--config', at('relay.toml')]).flags, {}).auth),
        () => loadConfig(parseCommandLine([]).flags, { ICN_RELAY_AUTH_TOKENS: text, ICN_RELAY_AUTH_JWT_CLOCK_TOLERANCE_MS: 'x' }),
        () => loadConfig(parseCommandLine([]).flags, { ICN_RELAY_AUTH_REQUIRE: text, ICN_RELAY_AUTH_JWT_HS256_SECRET: text }),
        async () => await readAuth(authConfig({ jwt: { public_key_files: [at('secret.pem')] } })),
        async () => await readAuth(authConfig({ jwt: { jwks_file: at('secret.pem') } })),
        () => parseCommandLine(['--hash-token', text]),
        () => parseCommandLine([`--hash-token=${text}`]),
        async () => await hashToken(Readable.from([`${text} ${text}`]))
      ]
      for (const [position, work] of works.entries()) {
        try {
          await work()
        } catch (error) {
          assert.ok(error instanceof RelayError, `${position}: ${String(error)}`)
          // Twelve characters in a row of it are too many; what it shares with the words of a message is less.
          for (let start = 0; start + 12 <= text.length; start++) assert.ok(!error.message.includes(text.slice(start, start + 12)), `${position}: ${error.message}`)
        }
      }
    }), { numRuns: 200 })
  })
})

suite('commands', () => {
  test('a token from standard input is printed in the form that the configuration takes', async () => {
    for (const input of ['correct-horse-battery', 'correct-horse-battery\n', 'correct-horse-battery\r\n']) assert.equal(await hashToken(Readable.from([input])), hashedToken('correct-horse-battery'))
    assert.equal(await hashToken(Readable.from(['correct-', 'horse-', 'battery\n'])), hashedToken('correct-horse-battery'))
    for (const input of ['', 'short', 'two words are no token', 'first-token-of-two\nsecond-token-of-two\n', 'x'.repeat(513)]) assert.match(await problem(async () => await hashToken(Readable.from([input]))), /^--hash-token: standard input must hold one token/)
  })

  test('a path is signed with the first key, a prefix gives the query for all paths below it', async () => {
    const config = checkConfig({ auth: { signed_urls: { keys: [{ kid: 'new', secret: 'n'.repeat(32) }, { kid: 'old', secret: 'o'.repeat(32) }] } } })
    const command = { expiresInSeconds: 60, viewer: undefined, ip: undefined }
    const urls = new SignedUrls([{ kid: 'new', secret: 'n'.repeat(32) }])
    const path = '/shards/QmA/shard_0.bin'
    const one = await signedUrl(config, { ...command, path }, 1_000_500)
    assert.deepEqual(urls.judge(one, undefined, 1_001_000), { ok: true, expiresAt: 1_060_000 })
    const query = await signedUrl(config, { ...command, path: '/shards/QmA/', viewer: 'v', ip: '192.0.2.1' }, 1_000_500)
    assert.deepEqual(urls.judge(path + query, '192.0.2.1', 1_001_000), { ok: true, identity: 'v', expiresAt: 1_060_000 })
    assert.match(await problem(async () => await signedUrl(config, { ...command, path: '/shards/QmA/shard_99.bin' }, 0)), /^--sign-url: shard 99 does not exist/)
    assert.match(await problem(async () => await signedUrl(config, { ...command, path, ip: 'x' }, 0)), /^--sign-url: the address is not an IP address$/)
    assert.match(await problem(async () => await signedUrl(checkConfig({}), { ...command, path }, 0)), /no auth\.signed_urls\.keys$/)
  })
})

suite('store', () => {
  test('a changed file is read again by itself or on demand; a bad one is logged and changes nothing', { timeout: 240_000 }, async t => {
    const at = await directoryWith(t, { secret: SECRET })
    const lines: [string, string, unknown][] = []
    const store = await AuthStore.open(authConfig({ jwt: { hs256_secret_file: at('secret') } }), { log: (level, message, fields) => { lines.push([level, message, fields]) }, watchIntervalMs: 10 })
    // The store's own watching keeps no process alive.
    const alive = setInterval(() => {}, 1_000)
    t.after(async () => {
      clearInterval(alive)
      await store.close()
    })
    const first = store.current()
    let changed = deferred<AuthSettings>()
    store.onChange(settings => { changed.resolve(settings) })
    await writeFile(at('new'), `another ${SECRET}`)
    await rename(at('new'), at('secret'))
    assert.notDeepEqual(await changed.promise, first)
    const second = store.current()
    await rm(at('secret'))
    await store.reload()
    assert.equal(store.current(), second)
    await writeFile(at('secret'), 'short')
    await store.reload()
    assert.equal(store.current(), second)
    assert.ok(lines.some(([level, message]) => level === 'error' && message.includes('the old ones stay in use')))
    assert.doesNotMatch(JSON.stringify(lines), /short|shared secret/)
    changed = deferred<AuthSettings>()
    await writeFile(at('secret'), SECRET)
    await store.reload()
    assert.deepEqual(await changed.promise, first)
  })

  test('files that are bad at the start are an error', async t => {
    const at = await directoryWith(t, { secret: 'short' })
    assert.match(await problem(async () => await AuthStore.open(authConfig({ jwt: { hs256_secret_file: at('secret') } }), { log: () => {} })), /at least 32 bytes/)
  })
})
