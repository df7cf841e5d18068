import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { suite, test, type TestContext } from 'node:test'
import fc from 'fast-check'
import { parseCommandLine } from '../../../src/cli/arguments.ts'
import { checkConfig, defaultConfig, environmentName, loadConfig, readLayers, type Config } from '../../../src/config/config.ts'
import { configKeys, ConfigSchema } from '../../../src/config/schema.ts'
import { hashedToken } from '../../../src/admission/static-tokens.ts'
import { fromUnits, nearest } from '../../../src/config/text.ts'
import { RelayError } from '../../../src/base/errors.ts'
import { checkStart, startProblems } from '../../../src/cli/start-check.ts'
import { temporaryDirectory } from '../../../tools/harness/temporary-directory.ts'

const NOTHING = parseCommandLine([])

/** Lines of the configuration error that `work` throws; any other outcome fails the test. */
function problems (work: () => unknown): string[] {
  try {
    work()
  } catch (error) {
    assert.ok(error instanceof RelayError, String(error))
    assert.equal(error.code, 'RELAY_ERR_CONFIG')
    return error.message.split('\n')
  }
  return assert.fail('accepted')
}

async function fileWith (t: TestContext, text: string): Promise<string> {
  const file = join(await temporaryDirectory(t), 'relay.toml')
  writeFileSync(file, text)
  return file
}

async function load (t: TestContext, toml: string, env: Record<string, string> = {}, args: string[] = []): Promise<Config> {
  const file = await fileWith(t, toml)
  return loadConfig(parseCommandLine(['--config', file, ...args]), env)
}

interface Key { readonly path: readonly string[], readonly schema: { type?: string, minimum?: number, maximum?: number, anyOf?: { const: string }[], default: unknown } }

const KEYS: Key[] = configKeys().map(({ path, schema }) => ({ path, schema: schema as unknown as Key['schema'] }))

function valueOf (config: Config, path: readonly string[]): unknown {
  return path.reduce<unknown>((table, name) => (table as Record<string, unknown>)[name], config)
}

test('a file of more than 1 MiB is refused, at start and later', async t => {
  const commandLine = parseCommandLine(['--config', await fileWith(t, `# ${'x'.repeat(1_048_576)}`)])
  const line = `configuration file "${commandLine.config}" is larger than 1048576 bytes`
  assert.deepEqual(problems(() => loadConfig(commandLine, {})), [line])
  await assert.rejects(readLayers(commandLine, {}), { code: 'RELAY_ERR_CONFIG', message: line })
})

suite('defaults', () => {
  test('nothing configured is a complete, valid configuration', () => {
    const config = loadConfig(NOTHING, {})
    assert.deepEqual(config, defaultConfig())
    assert.equal(config.viewer.port, 9003)
    assert.equal(config.viewer.host, '0.0.0.0')
    assert.equal(config.admin.port, 9103)
    assert.equal(config.admin.host, '127.0.0.1')
    assert.deepEqual(config.admin.tokens, [])
    assert.equal(config.cache.max_bytes, 1_099_511_627_776)
    assert.equal(config.cache.ram_bytes, 268_435_456)
    assert.equal(config.transport.glibc_shim, true)
    assert.deepEqual(config.upstream.super_nodes, [{ url: 'http://127.0.0.1:9002', region: 'NA-WEST' }])
    assert.deepEqual(config.region, { regions: ['NA-WEST', 'NA-EAST', 'EU-WEST', 'EU-EAST', 'APAC', 'LATAM', 'MENA'], override: '', interval_ms: 3_600_000, sample_timeout_ms: 2_000, hysteresis_percent: 20, hysteresis_margin_ms: 5, hysteresis_rounds: 2 })
  })

  test('two configurations share no object', () => {
    const [first, second] = [defaultConfig(), defaultConfig()]
    first.upstream.super_nodes.push({ url: 'http://x', region: 'APAC' })
    assert.equal(second.upstream.super_nodes.length, 1)
    assert.equal(defaultConfig().upstream.super_nodes.length, 1)
  })

  test('checking does not change what is checked', () => {
    const tree = { cache: { path: 'x' } }
    checkConfig(tree)
    assert.deepEqual(tree, { cache: { path: 'x' } })
  })

  test('every key has a description and a default, and every default passes', () => {
    for (const { path, schema } of KEYS) {
      assert.ok('description' in schema && String(schema.description).length > 5, path.join('.'))
      assert.ok('default' in schema, path.join('.'))
    }
  })
})

suite('layers', () => {
  const toml = '[cache]\npath = "/from-file"\nram_bytes = 1000\n[region]\noverride = "APAC"\n'

  test('environment beats file key by key, and the command line beats both', async t => {
    assert.equal((await load(t, toml)).cache.path, '/from-file')
    const env = { ICN_RELAY_CACHE_PATH: '/from-env', ICN_RELAY_REGION_OVERRIDE: 'MENA' }
    const second = await load(t, toml, env)
    assert.deepEqual([second.cache.path, second.cache.ram_bytes, second.region.override], ['/from-env', 1000, 'MENA'])
    const third = await load(t, toml, env, ['--cache-path', '/from-flag', '--region', 'LATAM'])
    assert.deepEqual([third.cache.path, third.cache.ram_bytes, third.region.override], ['/from-flag', 1000, 'LATAM'])
  })

  test('ICN_RELAY_CONFIG names the file, --config beats it', async t => {
    const [one, two] = [await fileWith(t, '[viewer]\nport = 1001'), await fileWith(t, '[viewer]\nport = 1002')]
    assert.equal(loadConfig(NOTHING, { ICN_RELAY_CONFIG: one }).viewer.port, 1001)
    assert.equal(loadConfig(parseCommandLine(['--config', two]), { ICN_RELAY_CONFIG: one }).viewer.port, 1002)
  })

  test('a table within a section is merged key by key', async t => {
    const config = await load(t, '[auth.jwt]\nissuer = "a"\naudience = "b"', { ICN_RELAY_AUTH_JWT_AUDIENCE: 'c', ICN_RELAY_AUTH_REQUIRE: 'true' })
    assert.deepEqual([config.auth.require, config.auth.jwt.issuer, config.auth.jwt.audience], [true, 'a', 'c'])
  })

  test('a list replaces a list', async t => {
    const config = await load(t, '[upstream]\nsuper_nodes = [{ url = "http://a:1", region = "APAC" }, { url = "http://b:1", region = "MENA" }]',
      { ICN_RELAY_UPSTREAM_SUPER_NODES: '[{"url":"https://c","region":"EU-WEST"}]' })
    assert.deepEqual(config.upstream.super_nodes, [{ url: 'https://c', region: 'EU-WEST' }])
  })

  test('every key can be set by its environment variable, with its own type', () => {
    const lists: Record<string, unknown> = {
      'cache.ttl': [{ cid_prefix: 'live-', ttl_ms: 30_000 }, { tag: 'news' }],
      'admin.tokens': [{ token: 'x'.repeat(16), scope: 'read' }],
      'upstream.super_nodes': [{ url: 'http://other:9002', region: 'APAC' }],
      'upstream.dns': [{ dns: '_super._tcp.example.org', type: 'SRV', region: 'APAC' }],
      'upstream.dns_servers': ['127.0.0.1:5353'],
      'upstream.siblings': [{ url: 'http://sibling:9003', region: 'APAC' }, { url: 'http://self:9003', region: 'APAC' }],
      'viewer.trusted_proxies': ['10.0.0.0/8', '2001:db8::1'],
      'region.regions': ['NA-WEST', 'MOON'],
      'overload.alternates': ['http://relay-2.example:9003'],
      'auth.tokens': ['x'.repeat(16), { token: `sha256:${'0'.repeat(64)}`, class: 'gold', cid_prefixes: ['Qm'] }],
      'auth.jwt.public_key_files': ['/a.pem'],
      'auth.signed_urls.keys': [{ kid: 'a', secret: 'x'.repeat(32) }],
      'bandwidth.weights': { premium: 4, default: 1 },
      'bandwidth.ladder': [{ rendition: '144p', min_bps: 100_000 }],
      'tls.hosts': ['relay.example'],
      'trust.publishers': ['iUCYHF8Qm2030uphw282ybK9BMacN3u0oLDJJ7752PM='],
      'p2p.listen': ['/ip6/::/tcp/9006'],
      'p2p.announce': ['/dns4/relay.example/tcp/9005'],
      'p2p.bootstrap': [`/dns4/super-1.example/tcp/9005/p2p/${'1'.repeat(46)}`]
    }
    const texts: Record<string, string> = { 'region.override': 'APAC', 'upstream.shard_path': '/x/{cid}/{n}', 'upstream.manifest_path': '/x/{cid}', 'upstream.self_url': 'https://relay.example', 'p2p.protocol': '/other/kad/1.0.0', 'warm.feed.url': 'http://super-1.example:9002/recent', 'denylist.url': 'https://lists.example/deny.txt' }
    /** Keys that mean nothing without another one. */
    const needed: Record<string, { path: readonly string[], text: string }> = {
      'upstream.siblings': { path: ['upstream', 'self_url'], text: 'http://self:9003' },
      'process.gateway_user': { path: ['process', 'user'], text: 'relay' },
      'p2p.enabled': { path: ['trust', 'publishers'], text: '["iUCYHF8Qm2030uphw282ybK9BMacN3u0oLDJJ7752PM="]' }
    }
    for (const item of KEYS) {
      const { schema } = item
      const path = item.path.join('.')
      const name = environmentName(...item.path)
      assert.match(name, /^ICN_RELAY_[A-Z0-9_]+$/)
      const list = lists[path]
      const value = schema.type === 'array' || schema.type === 'object' ? list : schema.type === 'boolean' ? schema.default !== true : schema.type === 'integer' ? Number(schema.default) + 1 : schema.type === 'number' ? Number(schema.default) / 4 : texts[path] ?? schema.anyOf?.at(-1)?.const ?? 'other'
      const beside = needed[path]
      const config = loadConfig(NOTHING, { ...beside === undefined ? {} : { [environmentName(...beside.path)]: beside.text }, [name]: typeof value === 'string' ? value : JSON.stringify(value) })
      assert.deepEqual(valueOf(config, item.path), value, path)
      // Every other key keeps its default.
      for (const rest of KEYS) if (rest !== item && rest.path.join('.') !== beside?.path.join('.')) assert.deepEqual(valueOf(config, rest.path), rest.schema.default, `${path} changed ${rest.path.join('.')}`)
    }
  })

  test('variables of other programs are left alone', () => {
    assert.deepEqual(loadConfig(NOTHING, { PATH: '/bin', ICN_OTHER: 'x', icn_relay_viewer_port: '1' }), defaultConfig())
  })
})

suite('mistakes are one clear line each, naming the key', () => {
  const cases: [label: string, toml: string, lines: (string | RegExp)[]][] = [
    ['unknown key', '[viewer]\nprot = 1', ['unknown key viewer.prot; did you mean port?']],
    ['unknown section', '[veiwer]\nport = 1', ['unknown section or key veiwer; did you mean viewer?']],
    ['key outside a section', 'port = 1', ['unknown section or key port']],
    ['unknown key of a list item', '[[upstream.super_nodes]]\nurl = "http://a"\nregion = "APAC"\nweight = 3', ['unknown key upstream.super_nodes.0.weight']],
    ['prototype as a section', '[__proto__]\nx = 1', ['unknown section or key __proto__']],
    ['prototype as a key', '[cache]\n__proto__ = 1', ['unknown key cache.__proto__']],
    ['section of a built-in name', '[constructor]\nx = 1', ['unknown section or key constructor']],
    ['string for a number', '[viewer]\nport = "9003"', ['viewer.port must be integer']],
    ['fraction', '[viewer]\nport = 1.5', ['viewer.port must be integer']],
    ['infinity', '[cache]\nmax_bytes = inf', [/^cache\.max_bytes must be /]],
    ['not a number', '[cache]\nmax_bytes = nan', [/^cache\.max_bytes must be /]],
    ['number for a boolean', '[viewer]\nplayer = 1', ['viewer.player must be boolean']],
    ['number for a section', 'cache = 1', ['cache must be object']],
    ['list for a section', '[[cache]]\npath = "x"', ['cache must be object']],
    ['date for a section', 'cache = 1979-05-27', ['cache must be object']],
    ['date for a key', '[cache]\npath = 1979-05-27', ['cache.path must be string']],
    ['text for a list', '[region]\nregions = "APAC"', [/^region\.regions must be array; for example regions = \["NA-WEST",/]],
    ['below the minimum', '[upstream]\nmax_fills = 0', ['upstream.max_fills must be >= 1']],
    ['proxies that are not addresses', '[viewer]\ntrusted_proxies = ["10.0.0.0/8", "proxy.example", "0.0.0.0/0"]', ['viewer.trusted_proxies.1 "proxy.example" must be an IP address, or a network such as 10.0.0.0/8', 'viewer.trusted_proxies.2 "0.0.0.0/0" must be an IP address, or a network such as 10.0.0.0/8']],
    ['more addresses than there may be', '[limits]\ntracked_ips = 1000001\nrequests_per_second_per_viewer = 0', ['limits.tracked_ips must be <= 1000000', 'limits.requests_per_second_per_viewer must be >= 1']],
    ['detection without a pause', '[region]\ninterval_ms = 999', ['region.interval_ms must be >= 1000']],
    ['detection without an end', '[region]\nsample_timeout_ms = 60001', ['region.sample_timeout_ms must be <= 60000']],
    ['a saving that nothing reaches', '[region]\nhysteresis_percent = 100\nhysteresis_margin_ms = -1\nhysteresis_rounds = 0', ['region.hysteresis_percent must be <= 99', 'region.hysteresis_margin_ms must be >= 0', 'region.hysteresis_rounds must be >= 1']],
    ['above the maximum', '[viewer]\nport = 65536', ['viewer.port must be <= 65535']],
    ['negative', '[cache]\nram_bytes = -1', ['cache.ram_bytes must be >= 0']],
    ['lifetimes out of bounds', '[[cache.ttl]]\nttl_ms = 999\nstale_while_revalidate_ms = -1\n[[cache.ttl]]\nttl_ms = "366d"\nstale_if_error_ms = "1B"', ['cache.ttl.0.ttl_ms must be >= 1000', 'cache.ttl.0.stale_while_revalidate_ms must be >= 0', 'cache.ttl.1.ttl_ms must be <= 31536000000', 'cache.ttl.1.stale_if_error_ms must be milliseconds, or a time such as "500ms", "3s" or "5min"']],
    ['lifetimes of what there is not', '[[cache.ttl]]\nmedia_type = "video/mp4"\ntag = "a b"\ncid_prefix = ""\nprefix = "Qm"', ['cache.ttl.0.media_type must be one of application/json, application/octet-stream', /^cache.ttl.0.tag must match/, /^cache.ttl.0.cid_prefix must match/, 'unknown key cache.ttl.0.prefix']],
    ['more after a lifetime that there is not', '[[cache.ttl]]\nstale_if_error_ms = 1', ['cache.ttl.0 has no ttl_ms, so what it is for never becomes stale, and stale_while_revalidate_ms and stale_if_error_ms say nothing']],
    ['text for a list of tables', '[cache]\nttl = "1h"', ['cache.ttl must be array; for example ttl = [{ media_type = "application/json", ttl_ms = "1h", stale_if_error_ms = "7d" }]']],
    ['more lifetimes than there may be', '[cache]\nttl = [' + '{}, '.repeat(65) + ']', ['cache.ttl must NOT have more than 64 items']],
    ['empty path', '[cache]\npath = ""', ['cache.path must NOT have fewer than 1 characters']],
    ['an empty template', '[access_log]\ntemplate = ""', ['access_log.template must be one line of 1 to 2,048 ASCII characters']],
    ['a field that there is not', '[access_log]\ntemplate = "{time} {nme} {}"', [/^access_log.template names "nme", ""; there are time, clfTime, /]],
    ['a template of two lines', '[access_log]\ntemplate = "a\\nb"', ['access_log.template must be one line of 1 to 2,048 ASCII characters']],
    ['not one of the choices', '[log]\nlevel = "loud"', ['log.level must be one of fatal, error, warn, info, debug, trace, silent']],
    ['not one of the choices in a list', `[admin]\ntokens = [{ token = "${'x'.repeat(16)}", scope = "root" }]`, ['admin.tokens.0.scope must be one of read, write']],
    ['missing in a list item', '[upstream]\nsuper_nodes = [{ url = "http://a" }]', ["upstream.super_nodes.0 must have required property 'region'"]],
    ['no origin', '[upstream]\nsuper_nodes = []', ['upstream.super_nodes or upstream.dns must name a super-node']],
    ['origin with a path', '[upstream]\nsuper_nodes = [{ url = "http://a/b", region = "APAC" }]', [/^upstream\.super_nodes\.0\.url must match pattern/]],
    ['origin with a password', '[upstream]\nsuper_nodes = [{ url = "http://u:p@a", region = "APAC" }]', [/^upstream\.super_nodes\.0\.url must match pattern/]],
    ['origin that is not a URL', '[upstream]\nsuper_nodes = [{ url = "http://a:99999", region = "APAC" }]', ['upstream.super_nodes.0.url is not a URL']],
    ['origin of a region that is not in use', '[upstream]\nsuper_nodes = [{ url = "http://a", region = "MOON" }]', [/^upstream\.super_nodes\.0\.region must be one of NA-WEST, /]],
    ['origin twice', '[upstream]\nsuper_nodes = [{ url = "http://a", region = "APAC" }, { url = "http://A:80/", region = "MENA" }]', ['upstream.super_nodes.1.url repeats a']],
    ['own region not in use', '[region]\noverride = "MOON"', [/^region\.override must be one of NA-WEST, .*, or empty$/]],
    ['path without a CID', '[upstream]\nshard_path = "/{n}"', ['upstream.shard_path must contain {cid}']],
    ['path without a number', '[upstream]\nshard_path = "/{cid}"', ['upstream.shard_path must contain {n} or {nn}']],
    ['cache smaller than an object', '[cache]\nmax_bytes = 1000', [/^cache\.max_bytes must be at least upstream\.max_object_bytes/]],
    ['pass-through smaller than an object', '[upstream]\nmax_object_bytes = 200000000', [/^cache\.pass_through_bytes must be at least upstream\.max_object_bytes/]],
    ['an overload that is never entered', '[overload]\nenter_samples = 6\nwindow_samples = 5', ['overload.enter_samples must be at most overload.window_samples']],
    ['shedding before degraded', '[overload]\nshedding_delay_ms = 100\ndegraded_load_percent = 96', ['overload.shedding_delay_ms must be at least overload.degraded_delay_ms', 'overload.shedding_load_percent must be at least overload.degraded_load_percent']],
    ['an alternate that is not a URL', '[overload]\nalternates = ["http://a.example", "https://[x"]', ['overload.alternates.1 is not a URL']],
    ['a feed that is no web address', '[warm.feed]\nurl = "ftp://a/recent"', ['warm.feed.url must be a URL, http or https, without user and fragment']],
    ['a feed with an impossible port', '[warm.feed]\nurl = "http://a:99999/recent"', ['warm.feed.url is not a URL']],
    ['back-off that shrinks', '[upstream]\nbackoff_initial_ms = 5000\nbackoff_max_ms = 1000', ['upstream.backoff_max_ms must be at least upstream.backoff_initial_ms']],
    ['one port for two listeners', '[viewer]\nhost = "127.0.0.1"\nport = 9103', ['viewer.port and admin.port must differ']],
    ['token too short', '[admin]\ntokens = [{ token = "short", scope = "read" }]', [/^admin\.tokens\.0\.token must match pattern/]],
    ['token that no header can carry', '[admin]\ntokens = [{ token = "sixteen chars but spaces", scope = "read" }]', [/^admin\.tokens\.0\.token must match pattern/]],
    ['token and file', `[admin]\ntokens = [{ token = "${'x'.repeat(16)}", token_file = "x", scope = "read" }]`, ['admin.tokens.0 must have either token or token_file']],
    ['neither token nor file', '[admin]\ntokens = [{ scope = "read" }]', ['admin.tokens.0 must have either token or token_file']],
    ['viewer token too short', '[auth]\ntokens = ["short"]', ['auth.tokens.0 must be "sha256:" and 64 hexadecimal digits, or a token of 16 to 512 characters']],
    ['viewer token with half a hash', `[auth]\ntokens = ["sha256:${'a'.repeat(63)}"]`, [/^auth\.tokens\.0 must be "sha256:" and 64/]],
    ['viewer token of another type', '[auth]\ntokens = [5]', [/^auth\.tokens\.0 must be "sha256:" and 64/]],
    ['viewer token in a table, too short', '[auth]\ntokens = [{ token = "short" }]', [/^auth\.tokens\.0\.token must be "sha256:" and 64/]],
    ['viewer token in a table with a wrong key', `[auth]\ntokens = [{ token = "${'x'.repeat(16)}", clas = "a" }]`, ['unknown key auth.tokens.0.clas; did you mean class?']],
    ['viewer token in a table without a token', '[auth]\ntokens = [{ class = "a" }]', ["auth.tokens.0 must have required property 'token'"]],
    ['viewer token for no CID', `[auth]\ntokens = [{ token = "${'x'.repeat(16)}", cid_prefixes = [] }]`, [/^auth\.tokens\.0\.cid_prefixes must NOT have fewer/]],
    ['viewer token twice, in two forms', `[auth]\ntokens = ["${'x'.repeat(16)}", "${hashedToken('x'.repeat(16))}"]`, ['auth.tokens.1 repeats auth.tokens.0']],
    ['unknown key of a table', '[auth.jwt]\nsecret = "x"', ['unknown key auth.jwt.secret']],
    ['date for a table', '[auth]\njwt = 1979-05-27', ['auth.jwt must be object']],
    ['secret and its file', `[auth.jwt]\nhs256_secret = "${'x'.repeat(32)}"\nhs256_secret_file = "x"`, ['auth.jwt must have hs256_secret or hs256_secret_file, not both']],
    ['signing key without a secret', '[auth.signed_urls]\nkeys = [{ kid = "a" }]', ['auth.signed_urls.keys.0 must have either secret or secret_file']],
    ['signing key twice', `[auth.signed_urls]\nkeys = [{ kid = "a", secret = "${'x'.repeat(32)}" }, { kid = "a", secret_file = "x" }]`, ['auth.signed_urls.keys.1.kid repeats a']],
    ['several mistakes', '[viewer]\nport = "x"\nprot = 1\n[cache]\nram_bytes = -1', ['unknown key viewer.prot; did you mean port?', 'viewer.port must be integer', 'cache.ram_bytes must be >= 0']]
  ]

  for (const [label, toml, lines] of cases) {
    test(label, async t => {
      const file = await fileWith(t, toml)
      const found = problems(() => loadConfig(parseCommandLine(['--config', file]), {}))
      assert.equal(found.length, lines.length, found.join(' | '))
      for (const expected of lines) {
        assert.ok(found.some(line => typeof expected === 'string' ? line === expected : expected.test(line)), `${String(expected)} not in ${found.join(' | ')}`)
      }
    })
  }

  test('no message shows a token', async t => {
    const file = await fileWith(t, '[admin]\ntokens = [{ token = "hunter2 hunter2 hunter2", scope = "root" }]')
    assert.doesNotMatch(problems(() => loadConfig(parseCommandLine(['--config', file]), {})).join(), /hunter2/)
  })

  test('a wrong section in the file is named also when the environment sets a key of it', async t => {
    const file = await fileWith(t, 'cache = 5')
    assert.deepEqual(problems(() => loadConfig(parseCommandLine(['--config', file]), { ICN_RELAY_CACHE_PATH: '/x' })), ['cache must be object'])
  })

  test('tables and lists eight deep are looked at, deeper ones are refused by name', () => {
    const nested = (levels: number): unknown => levels === 0 ? 1 : [nested(levels - 1)]
    assert.deepEqual(problems(() => checkConfig({ upstream: { siblings: nested(7) } })), ['upstream.siblings.0 must be object'])
    for (const levels of [8, 1_000]) assert.deepEqual(problems(() => checkConfig({ upstream: { siblings: nested(levels) } })), ['upstream has tables or lists more than 8 deep'])
    const deep = '['.repeat(20_000) + ']'.repeat(20_000)
    assert.deepEqual(problems(() => loadConfig(NOTHING, { ICN_RELAY_UPSTREAM_SIBLINGS: deep })), ['upstream has tables or lists more than 8 deep'])
  })

  test('other relays and DNS names: what the schema cannot say', () => {
    const lines = problems(() => checkConfig({
      upstream: {
        siblings: [{ url: 'http://a:1', region: 'MOON' }, { url: 'http://A:1/', region: 'APAC' }, { url: 'http://a:99999', region: 'APAC' }],
        dns: [
          { dns: 'x.example', type: 'A', scheme: 'https', region: 'APAC' },
          { dns: '_relay._tcp.example.org', type: 'SRV', scheme: 'https', port: 1, region: 'MOON' },
          { dns: 'X.example', type: 'A', region: 'APAC' }
        ]
      }
    })).filter(line => !line.includes('is reserved'))
    assert.deepEqual(lines, [
      'upstream.siblings.0.region must be one of NA-WEST, NA-EAST, EU-WEST, EU-EAST, APAC, LATAM, MENA',
      'upstream.siblings.1.url repeats http://a:1',
      'upstream.siblings.2.url is not a URL',
      'upstream.self_url must be set beside upstream.siblings, or no key would be ours',
      'upstream.dns.0.scheme must be http with type A: a certificate is for a name, and addresses have none',
      'upstream.dns.1.region must be one of NA-WEST, NA-EAST, EU-WEST, EU-EAST, APAC, LATAM, MENA',
      'upstream.dns.1.port must not be set with type SRV, whose records name ports',
      'upstream.dns.2 repeats A X.example'
    ])
    assert.deepEqual(problems(() => checkConfig({ upstream: { super_nodes: [] } })), ['upstream.super_nodes or upstream.dns must name a super-node'])
    const servers = ['10.0.0.53', '127.0.0.1:5353', '2001:db8::53', '[2001:db8::53]:53']
    assert.deepEqual(checkConfig({ upstream: { dns_servers: servers } }).upstream.dns_servers, servers)
    for (const server of ['', 'ns.example', '10.0.0.53:0', '10.0.0.53:65536', '10.0.0.53:', '10.0.0', '[10.0.0.53]:53', '::1:x', '[::1]', '[::1]53', ' 10.0.0.53']) {
      assert.match(problems(() => checkConfig({ upstream: { dns_servers: ['10.0.0.53', server] } })).join(), /^upstream\.dns_servers\.1 must be an IP address/, server)
    }
    for (const dns of ['', '-'.repeat(64), 'a..b', '.a', 'a.', 'a b', `${'a'.repeat(63)}.`.repeat(4)]) {
      assert.match(problems(() => checkConfig({ upstream: { dns: [{ dns, type: 'A', region: 'APAC' }] } })).join(), /^upstream\.dns\.0\.dns must/, dns)
    }
  })

  test('discovery by libp2p: only with publishers and manifests; then no super-node need be named', () => {
    const peer = (host: string): string => `/ip4/${host}/tcp/9005/p2p/12D3KooWEaeXpruQKfrL6SHxzcbeUWjv9ycy7oXwn9etYq9hfMy2`
    const trust = { publishers: [`${'A'.repeat(43)}=`] }
    assert.deepEqual(problems(() => checkConfig({ p2p: { enabled: true, bootstrap: [peer('8.8.8.8'), peer('10.0.0.1')] }, cache: { integrity: 'digest' } })), [
      'p2p.enabled needs trust.publishers: whoever it finds is asked because one of them signed it',
      'p2p.enabled needs cache.integrity = "manifest": whoever it finds may send anything',
      'p2p.bootstrap.1 has an address that is not public, which needs p2p.allow_private = true'
    ])
    assert.deepEqual(checkConfig({ p2p: { enabled: true, bootstrap: [peer('10.0.0.1')], allow_private: true }, trust, upstream: { super_nodes: [] } }).upstream.super_nodes, [])
    assert.equal(checkConfig({ p2p: { bootstrap: [peer('10.0.0.1')] } }).p2p.enabled, false, 'what is off needs nothing')
    assert.match(problems(() => checkConfig({ p2p: { bootstrap: ['super-1:9005'] } })).join(), /^p2p\.bootstrap\.0 must be a multiaddr with the id of its peer/)
    assert.match(problems(() => checkConfig({ p2p: { listen: ['0.0.0.0:9005'] } })).join(), /^p2p\.listen\.0 must be a multiaddr like/)
  })

  test('bandwidth: what the schema cannot say, and classes and renditions by name', () => {
    assert.deepEqual(problems(() => checkConfig({
      bandwidth: {
        viewer_cap_bps: 1_000,
        viewer_floor_bps: 1_001,
        ladder: [{ rendition: 'a', min_bps: 0 }, { rendition: 'b', min_bps: 0 }, { rendition: 'a', min_bps: 5 }]
      }
    })), [
      'bandwidth.viewer_floor_bps must be at most bandwidth.viewer_cap_bps',
      'bandwidth.ladder.1.min_bps must be above that of the rendition before it',
      'bandwidth.ladder.2.rendition repeats a'
    ])
    assert.deepEqual(checkConfig({ bandwidth: { viewer_floor_bps: 1_001 } }).bandwidth.viewer_floor_bps, 1_001, 'without a cap any floor will do')
    for (const [weights, line] of [
      [{ 'a b': 1 }, 'unknown key bandwidth.weights.a b'],
      [{ a: 0 }, 'bandwidth.weights.a must be >= 0.01'],
      [{ a: '1' }, 'bandwidth.weights.a must be number'],
      [[], 'bandwidth.weights must be object']
    ] as const) assert.deepEqual(problems(() => checkConfig({ bandwidth: { weights } })), [line])
    assert.deepEqual(problems(() => checkConfig({ bandwidth: { ladder: [] } })), ['bandwidth.ladder must NOT have fewer than 1 items'])
  })

  test('environment: unknown names and wrong values name the variable or the key', () => {
    const cases: [name: string, value: string, line: string | RegExp][] = [
      ['ICN_RELAY_VIEWER_PROT', '1', 'environment: ICN_RELAY_VIEWER_PROT is not a configuration key; did you mean ICN_RELAY_VIEWER_PORT?'],
      ['ICN_RELAY_', '1', 'environment: ICN_RELAY_ is not a configuration key'],
      ['ICN_RELAY_VIEWER_PORT', '', 'viewer.port must be integer'],
      ['ICN_RELAY_VIEWER_PORT', '9003.0', 'viewer.port must be integer'],
      ['ICN_RELAY_VIEWER_PORT', ' 9003', 'viewer.port must be integer'],
      ['ICN_RELAY_VIEWER_PORT', '1e3', 'viewer.port must be integer'],
      ['ICN_RELAY_CACHE_MAX_BYTES', '9'.repeat(400), /^cache\.max_bytes must be /],
      ['ICN_RELAY_UPSTREAM_CIRCUIT_ERROR_RATIO', '', 'upstream.circuit_error_ratio must be number'],
      ['ICN_RELAY_UPSTREAM_CIRCUIT_ERROR_RATIO', '0x1', 'upstream.circuit_error_ratio must be number'],
      ['ICN_RELAY_UPSTREAM_CIRCUIT_ERROR_RATIO', 'Infinity', 'upstream.circuit_error_ratio must be number'],
      ['ICN_RELAY_UPSTREAM_CIRCUIT_ERROR_RATIO', '0', /^upstream\.circuit_error_ratio must be >= 0\.01/],
      ['ICN_RELAY_VIEWER_PLAYER', 'yes', 'viewer.player must be boolean'],
      ['ICN_RELAY_REGION_REGIONS', 'APAC,MENA', /^region\.regions must be array; for example regions = /],
      ['ICN_RELAY_REGION_REGIONS', '{"length":1}', 'region.regions must be array']
    ]
    for (const [name, value, line] of cases) {
      const [found = '', ...rest] = problems(() => loadConfig(NOTHING, { [name]: value }))
      if (typeof line === 'string') assert.equal(found, line)
      else assert.match(found, line)
      assert.deepEqual(rest, [])
    }
  })

  test('a file that cannot be read or is not TOML is named, with the line', async t => {
    const directory = await temporaryDirectory(t)
    assert.deepEqual(problems(() => loadConfig(parseCommandLine(['--config', join(directory, 'none.toml')]), {})), [`configuration file "${join(directory, 'none.toml')}" cannot be read: ENOENT`])
    assert.match(problems(() => loadConfig(parseCommandLine(['--config', directory]), {})).join(), /cannot be read: EISDIR/)
    assert.match(problems(() => loadConfig(NOTHING, { ICN_RELAY_CONFIG: '' })).join(), /^configuration file "" cannot be read/)
    const file = await fileWith(t, '[viewer]\nport = 1\nport = 2\n')
    const [line = '', ...rest] = problems(() => loadConfig(parseCommandLine(['--config', file]), {}))
    assert.ok(line.startsWith(`${file}: line 3: `), line)
    assert.deepEqual(rest, [])
  })
})

suite('values and names as people write them', () => {
  test('sizes and times may have units, numbers stay what they are', async t => {
    const config = await load(t, '[cache]\nmax_bytes = "1TB"\nram_bytes = "64MiB"\n[viewer]\nidle_timeout_ms = "3s"\nrequest_timeout_ms = 1500\n[upstream]\nnegative_ttl_ms = "0ms"\n[region]\ninterval_ms = "1.5h"', { ICN_RELAY_VIEWER_STOP_TIMEOUT_MS: '2 min', ICN_RELAY_CACHE_PASS_THROUGH_BYTES: '20MB' })
    assert.deepEqual([config.cache.max_bytes, config.cache.ram_bytes, config.cache.pass_through_bytes], [1_000_000_000_000, 67_108_864, 20_000_000])
    assert.deepEqual([config.viewer.idle_timeout_ms, config.viewer.request_timeout_ms, config.viewer.stop_timeout_ms, config.upstream.negative_ttl_ms, config.region.interval_ms], [3_000, 1_500, 120_000, 0, 5_400_000])
  })

  test('in lists of tables too', async t => {
    const { cache } = await load(t, '[[cache.ttl]]\nttl_ms = "1min"\nstale_if_error_ms = "0s"\n[[cache.ttl]]\nttl_ms = 1000')
    assert.deepEqual(cache.ttl, [{ ttl_ms: 60_000, stale_if_error_ms: 0 }, { ttl_ms: 1_000 }])
    for (const list of ['x', [1, null, 'x', []], { ttl_ms: '1s' }]) assert.throws(() => checkConfig({ cache: { ttl: list } }))
    const { cache: fromEnvironment } = await load(t, '', { ICN_RELAY_CACHE_TTL: '[{"ttl_ms":"2h"}]' })
    assert.deepEqual(fromEnvironment.ttl, [{ ttl_ms: 7_200_000 }])
  })

  test('every key that says bytes or milliseconds takes them', () => {
    for (const { path, schema } of KEYS.filter(({ path }) => /_(?:ms|bytes)$/.test(path.at(-1) ?? ''))) assert.ok('unit' in schema || path.at(-1)?.endsWith('_delay_ms'), path.join('.'))
  })

  test('what is not a size, not a time or out of bounds is named with an example', () => {
    for (const text of ['1XB', 'TB', '-1MB', '1e3MB', '', '3s', '1 000MB', '0.0000001kB', '9999999999PB']) {
      assert.deepEqual(problems(() => checkConfig({ cache: { max_bytes: text } })), ['cache.max_bytes must be bytes, or a size such as "500MB", "1TB" or "64MiB"'], text)
    }
    assert.deepEqual(problems(() => checkConfig({ viewer: { idle_timeout_ms: '1MB' } })), ['viewer.idle_timeout_ms must be milliseconds, or a time such as "500ms", "3s" or "5min"'])
    assert.deepEqual(problems(() => checkConfig({ viewer: { idle_timeout_ms: '2d' } })), ['viewer.idle_timeout_ms must be <= 86400000'])
  })

  test('any text is a number of its unit or none', () => {
    fc.assert(fc.property(fc.oneof(fc.string(), fc.tuple(fc.float({ noNaN: true }), fc.constantFrom('MB', 'KiB', 's', 'd', 'constructor')).map(pair => pair.join(''))), text => {
      for (const unit of ['size', 'time'] as const) {
        const value = fromUnits(text, unit)
        assert.ok(value === undefined || (Number.isSafeInteger(value) && value >= 0))
      }
    }))
  })

  test('a name that is nearly right is suggested, and one that is far from all is not', () => {
    const known = ['max_bytes', 'path', 'ram_bytes']
    for (const [name, meant] of [['max_byte', 'max_bytes'], ['MAX_BYTES', 'max_bytes'], ['maxbytes', 'max_bytes'], ['pahts', undefined], ['paht', 'path'], ['size', undefined], ['x'.repeat(10_000), undefined]] as const) assert.equal(nearest(name, known), meant, name)
  })

  test('a text where a table or a list belongs shows how it is written', () => {
    assert.deepEqual(problems(() => checkConfig({ cache: './cache' })), ['cache must be object; for example [cache] and below it path = "./cache"'])
    assert.deepEqual(problems(() => checkConfig({ upstream: { super_nodes: ['http://a:9002'] } })), ['upstream.super_nodes.0 must be object; for example { url = "http://super-1.example:9002", region = "NA-WEST" }'])
    assert.deepEqual(problems(() => checkConfig({ upstream: { super_nodes: 'http://a:9002' } })), ['upstream.super_nodes must be array; for example super_nodes = [{ url = "http://super-1.example:9002", region = "NA-WEST" }]'])
  })
})

suite('what a start needs besides', () => {
  const GIB = 2 ** 30
  const found = (tree: Record<string, unknown>): string[] => startProblems(checkConfig(tree), GIB)

  test('nothing is wrong with the defaults', () => {
    assert.deepEqual(found({}), [])
  })

  test('what starts and does not serve as meant is named', () => {
    const cases: [tree: Record<string, unknown>, line: RegExp][] = [
      [{ viewer: { port: 9103 } }, /^viewer\.port and admin\.port must differ, both are 9103$/],
      [{ viewer: { websocket_port: 9003 } }, /^viewer\.port and viewer\.websocket_port must differ/],
      [{ viewer: { websocket_port: 9103 } }, /^admin\.port and viewer\.websocket_port must differ/],
      [{ tls: { cert: '/a' } }, /^tls\.key must be set too/],
      [{ tls: { key: '/a' } }, /^tls\.cert must be set too/],
      [{ auth: { require: true } }, /^auth\.require needs auth\.tokens/],
      [{ admin: { host: '0.0.0.0' } }, /^admin\.tokens must have a token while admin\.host is 0\.0\.0\.0/],
      [{ cache: { ram_bytes: '2GiB' } }, /^cache\.ram_bytes is more than the 1073741824 bytes of memory there are$/],
      [{ transport: { ram_bytes: '2GiB' } }, /^transport\.ram_bytes is more than/]
    ]
    for (const [tree, line] of cases) {
      const [one = '', ...rest] = found(tree)
      assert.match(one, line)
      assert.deepEqual(rest, [], JSON.stringify(tree))
    }
    for (const fine of [{ viewer: { port: 0, websocket_port: 0 }, admin: { port: 0 } }, { viewer: { websocket_port: 9003 }, transport: { engine: 'off' } }, { admin: { host: '0.0.0.0', tokens: [{ token: 'x'.repeat(16), scope: 'read' }] } }, { auth: { require: true, tokens: ['x'.repeat(16)] } }]) assert.deepEqual(found(fine), [], JSON.stringify(fine))
    assert.deepEqual(problems(() => checkConfig({ upstream: { hedge_min_ms: 101 } })), ['upstream.hedge_max_ms must be at least upstream.hedge_min_ms'])
    assert.deepEqual(problems(() => checkConfig({ cache: { sync: 'none', verify_reads: 'never' } })), ['cache.sync = "none" needs cache.verify_reads = "first" or "always": after a power cut, files may have other bytes than were stored'])
  })

  test('files and the cache path are tried, and nothing is left behind', async t => {
    const path = await temporaryDirectory(t)
    await checkStart(checkConfig({ cache: { path: join(path, 'a', 'b') } }))
    assert.deepEqual(await readdir(path), [])
    writeFileSync(join(path, 'file'), '')
    for (const bad of [join(path, 'file'), join(path, 'file', 'below'), '/proc/icn-relay']) await assert.rejects(checkStart(checkConfig({ cache: { path: bad } })), { code: 'RELAY_ERR_CACHE_PATH' }, bad)
    await assert.rejects(checkStart(checkConfig({ cache: { path }, tls: { cert: join(path, 'none'), key: join(path, 'none') } })), { code: 'RELAY_ERR_CONFIG', message: /^tls\.cert file .* cannot be read/ })
    await assert.rejects(checkStart(checkConfig({ cache: { path }, tls: { cert: join(path, 'file'), key: join(path, 'file') } })), { code: 'RELAY_ERR_CONFIG', message: /is not a PEM certificate/ })
    await assert.rejects(checkStart(checkConfig({ cache: { path }, auth: { jwt: { jwks_file: join(path, 'none') } } })), { code: 'RELAY_ERR_CONFIG' })
  })
})

suite('secrets', () => {
  test('a token comes from its file, without the line end', async t => {
    const token = await fileWith(t, `${'s'.repeat(32)}\r\n`)
    const config = await load(t, `[admin]\ntokens = [{ token_file = ${JSON.stringify(token)}, scope = "write" }]`)
    assert.deepEqual(config.admin.tokens, [{ token: 's'.repeat(32), scope: 'write' }])
  })

  test('a file that is missing, short or holds more than a token is named', async t => {
    const missing = join(await temporaryDirectory(t), 'none')
    for (const [file, expected] of [
      [missing, `admin.tokens.0.token_file ${missing} cannot be read: ENOENT`],
      [await fileWith(t, 'short\n'), / must hold one token of 16 to 512 ASCII characters/],
      [await fileWith(t, ''), / must hold one token/],
      [await fileWith(t, `${'a'.repeat(20)}\n${'b'.repeat(20)}\n`), / must hold one token/],
      [await fileWith(t, 'ä'.repeat(20)), / must hold one token/]
    ] as const) {
      const [line = '', ...rest] = problems(() => loadConfig(NOTHING, { ICN_RELAY_ADMIN_TOKENS: JSON.stringify([{ token_file: file, scope: 'read' }]) }))
      if (typeof expected === 'string') assert.equal(line, expected)
      else assert.match(line, expected)
      assert.deepEqual(rest, [])
    }
  })
})

suite('command line', () => {
  test('all options are read', () => {
    assert.deepEqual(parseCommandLine(['--config', 'a', '--cache-path', 'b', '--region', 'c', '--validate', '--help', '--version']),
      { config: 'a', cachePath: 'b', region: 'c', validate: true, hashToken: false, signUrl: undefined, repair: undefined, warm: undefined, block: undefined, purge: undefined, tail: undefined, reload: undefined, doctor: undefined, help: true, version: true })
    assert.deepEqual(parseCommandLine(['--config=a', '-h', '-v']), { config: 'a', cachePath: undefined, region: undefined, validate: false, hashToken: false, signUrl: undefined, repair: undefined, warm: undefined, block: undefined, purge: undefined, tail: undefined, reload: undefined, doctor: undefined, help: true, version: true })
    assert.deepEqual([parseCommandLine(['doctor']).doctor, parseCommandLine(['doctor', '--json']).doctor], [{ json: false }, { json: true }])
    assert.equal(parseCommandLine(['--hash-token']).hashToken, true)
    assert.deepEqual(parseCommandLine(['--sign-url', '/a']).signUrl, { path: '/a', expiresInSeconds: 3_600, viewer: undefined, ip: undefined })
    assert.deepEqual(parseCommandLine(['--sign-url', '/a', '--expires-in', '60', '--viewer', 'v', '--ip', '::1']).signUrl, { path: '/a', expiresInSeconds: 60, viewer: 'v', ip: '::1' })
    assert.deepEqual(parseCommandLine(['repair', 'QmVideo', '--config', 'a', '--admin', 'http://127.0.0.1:9']).repair, { cid: 'QmVideo', admin: 'http://127.0.0.1:9' })
    assert.deepEqual(parseCommandLine(['repair', 'QmVideo']).repair, { cid: 'QmVideo', admin: undefined })
    assert.deepEqual(parseCommandLine(['warm', 'QmA', 'QmB', '--parity', '--concurrency', '16']).warm, { cids: ['QmA', 'QmB'], manifest: undefined, parity: true, concurrency: 16, admin: undefined })
    assert.deepEqual(parseCommandLine(['tail', '--object', 'QmA', '--status', '5xx', '--slower', '500', '--json']).tail, { filter: { object: 'QmA', status: '5xx', slowerThanMs: '500' }, json: true, admin: undefined })
    assert.deepEqual(parseCommandLine(['tail', '--admin', 'http://a', '--address', '::1']).tail, { filter: { address: '::1' }, json: false, admin: 'http://a' })
    assert.deepEqual(parseCommandLine(['warm', '--admin', 'http://127.0.0.1:9', 'http://a/shards/QmA/manifest.json']).warm, { cids: [], manifest: 'http://a/shards/QmA/manifest.json', parity: false, concurrency: undefined, admin: 'http://127.0.0.1:9' })
  })

  test('what is not an option is one line that names it', () => {
    assert.deepEqual(parseCommandLine(['block', 'QmA', 'tv-*', '--reason', 'order 12']).block, { undo: false, entries: ['QmA', 'tv-*'], reason: 'order 12', admin: undefined })
    assert.deepEqual(parseCommandLine(['unblock', 'QmA', '--admin', 'http://a']).block, { undo: true, entries: ['QmA'], reason: '', admin: 'http://a' })
    assert.deepEqual(parseCommandLine(['purge', 'QmA', 'QmB']).purge, { cids: ['QmA', 'QmB'], prefix: undefined, tag: undefined, all: false, soft: false, admin: undefined })
    assert.deepEqual(parseCommandLine(['purge', '--prefix', 'tv-*', '--soft', '--admin', 'http://a']).purge, { cids: [], prefix: 'tv-*', tag: undefined, all: false, soft: true, admin: 'http://a' })
    for (const [args, word] of [[['purge'], 'CIDs'], [['purge', 'QmA', '--all'], 'CIDs'], [['purge', 'Qm.A'], 'CIDs'], [['purge', '--tag', 'a b'], '--tag'], [['purge', '--prefix', '*'], '--prefix'], [['warm', 'QmA', '--all'], '--all'], [['block'], 'entries'], [['unblock', '--reason', 'x'], 'entries'], [['block', 'QmA', '--parity'], '--parity'], [['--reason', 'x'], '--reason'], [['--cofnig', 'x'], '--cofnig'], [['relay.toml'], 'relay.toml'], [['--config'], '--config'], [['--validate=yes'], '--validate'], [['--config', '--validate'], '--config'], [['--viewer', 'x'], '--sign-url'], [['repair'], 'CID'], [['repair', '../x'], 'CID'], [['repair', 'Qm', 'more'], 'more'], [['--admin', 'http://a'], '--admin'], [['repair', 'Qm', '--admin', 'host'], '--admin'], [['--sign-url', '/a', '--expires-in', '0'], '--expires-in'], [['warm'], 'CIDs'], [['warm', 'QmA', 'Qm.B'], 'CIDs'], [['warm', 'QmA', 'http://a/shards/QmA/manifest.json'], 'CIDs'], [['warm', 'QmA', '--concurrency', '17'], '--concurrency'], [['--parity'], '--parity'], [['repair', 'QmA', '--concurrency', '2'], '--concurrency'], [['tail', 'QmA'], 'options only'], [['tail', '--status', '6xx'], '--status'], [['tail', '--slower', '1s'], '--slower'], [['warm', 'QmA', '--json'], '--json'], [['--status', '404'], '--status'], [['doctor', 'now'], 'now'], [['doctor', '--admin', 'http://a'], '--admin']] as const) {
      const lines = problems(() => parseCommandLine(args))
      assert.equal(lines.length, 1, lines.join(' | '))
      assert.match(lines[0] ?? '', /^command line: .*; see --help$/)
      assert.ok(lines[0]?.includes(word), lines[0])
    }
  })
})

suite('any input', () => {
  const acceptsOrNames = (work: () => Config): void => {
    try {
      checkConfig(work())
    } catch (error) {
      assert.ok(error instanceof RelayError && error.code === 'RELAY_ERR_CONFIG', error instanceof Error ? error.stack : String(error))
    }
  }

  test('random TOML gives a configuration or RELAY_ERR_CONFIG', async t => {
    const file = await fileWith(t, '')
    const section = fc.constantFrom(...Object.keys(ConfigSchema.properties), 'auth.jwt', 'auth.signed_urls', '__proto__', 'x', 'constructor', 'a.b')
    const key = fc.constantFrom(...KEYS.map(item => item.path.at(-1) ?? ''), '__proto__', 'toString', '"a\\nb"')
    const value = fc.oneof(fc.string(), fc.integer().map(String), fc.double().map(String), fc.constantFrom('true', '1979-05-27', '1979-05-27T07:32:00Z', '[]', '[1, "a"]', '{}', '{ url = "x" }', '"x"', 'nan', '-inf', '0x7fffffffffffffff', '"""\n"""', '[[[[1]]]]'))
    const text = fc.array(fc.oneof(section.map(name => `[${name}]`), section.map(name => `[[${name}]]`), fc.tuple(key, value).map(([name, item]) => `${name} = ${item}`), fc.string()), { maxLength: 12 }).map(lines => lines.join('\n'))
    fc.assert(fc.property(text, toml => {
      writeFileSync(file, toml)
      acceptsOrNames(() => loadConfig(parseCommandLine(['--config', file]), {}))
    }), { numRuns: 2_000 })
  })

  test('random environment gives a configuration or RELAY_ERR_CONFIG', () => {
    const name = fc.oneof(fc.constantFrom(...KEYS.map(({ path }) => environmentName(...path))), fc.string().map(tail => `ICN_RELAY_${tail}`))
    const value = fc.oneof(fc.string(), fc.integer().map(String), fc.json(), fc.constantFrom('true', 'false', '[]', '[null]', '[{}]', '[[]]', 'null'))
    fc.assert(fc.property(fc.dictionary(name, value, { maxKeys: 4 }), env => {
      // It names a file, which may be any on this machine.
      const { ICN_RELAY_CONFIG: _file, ...rest } = env
      acceptsOrNames(() => loadConfig(NOTHING, rest))
    }), { numRuns: 2_000 })
  })
})
