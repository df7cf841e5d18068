import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import fc from 'fast-check'
import { RelayError } from '../../../../src/base/errors.ts'
import { deferred } from '../../../../src/base/deferred.ts'
import { checkConfig, type Config } from '../../../../src/config/config.ts'
import { merge, mergeLayers, treeOf, valueAt, type ConfigLayers, type Tree } from '../../../../src/config/layers.ts'
import { configKeys } from '../../../../src/config/schema.ts'
import { LiveConfig, type LiveConfigOptions } from '../../../../src/plugins/live-config/live-config.ts'
import { parseOverrides, type Overrides } from '../../../../src/plugins/live-config/overrides.ts'

const layers = (file: Tree, more: Partial<ConfigLayers> = {}): ConfigLayers => ({ file, environment: {}, flag: {}, api: {}, ...more })
const refused = (message: RegExp) => ({ name: 'RelayError', code: 'RELAY_ERR_CONFIG_REFUSED', message })

interface Rig {
  readonly live: LiveConfig
  /** What the next reload reads. */
  file: ConfigLayers
  /** As it is on the disk. */
  readonly kept: () => Overrides
  /** Keys that were applied, one list for each change. */
  readonly applied: Config[]
  readonly log: string[]
}

function rig (first: ConfigLayers, options: Partial<LiveConfigOptions> = {}, keys = ['limits.tracked_ips', 'limits.handshakes_per_second']): Rig {
  let text = ''
  const log: string[] = []
  const applied: Config[] = []
  const made: Rig = {
    file: first,
    kept: () => text === '' ? new Map() : parseOverrides(text),
    applied,
    log,
    live: new LiveConfig({
      config: checkConfig(mergeLayers(first)),
      layers: first,
      source: { file: 'relay.toml', read: async () => made.file, complete: async config => config },
      overrides: new Map(),
      keep: async written => { text = written },
      now: () => 7,
      deadline: () => new AbortController().signal,
      reloaded: () => {},
      log: (level, message, fields) => { log.push(`${level} ${message} ${JSON.stringify(fields)}`) },
      ...options
    })
  }
  made.live.on(keys, next => () => { applied.push(next) })
  return made
}

suite('a reload', () => {
  test('changes what is live, and what needs a restart stays pending until the file is as before', async () => {
    const made = rig(layers({}))
    const { live } = made
    made.file = layers({ limits: { tracked_ips: 5_000 }, viewer: { port: 1 } })
    const first = await live.reload()
    assert.deepEqual(first.changed, [{ key: 'limits.tracked_ips', before: 10_000, after: 5_000, source: 'file' }])
    assert.deepEqual([first.restart, live.config.viewer.port, live.config.limits.tracked_ips, made.applied.length], [['viewer.port'], 9_003, 5_000, 1])
    const { 'viewer.port': port, 'limits.tracked_ips': ips } = live.report()
    assert.deepEqual([port, ips], [{ value: 9_003, source: 'default', live: false, pending: { value: 1, source: 'file' } }, { value: 5_000, source: 'file', live: true }])
    assert.ok(made.log.some(line => line.startsWith('info configuration changed {"key":"limits.tracked_ips","before":10000,"after":5000')))
    assert.ok(made.log.some(line => line.startsWith('warn configuration changed, which needs a restart {"key":"viewer.port"')))
    made.file = layers({})
    assert.deepEqual([(await live.reload()).restart, live.config.limits.tracked_ips], [[], 10_000])
  })

  test('of which one key is bad, or one concern is not ready, changes nothing; the next good one is told from it', async () => {
    const made = rig(layers({}))
    const { live } = made
    live.on(['log.level'], ({ log }) => {
      if (log.level === 'trace') throw new RelayError('RELAY_ERR_CONFIG', 'log.level cannot be trace')
      return () => {}
    })
    for (const [tree, message] of [
      [{ limits: { tracked_ips: 5, handshakes_per_second: 0 } }, /^limits\.handshakes_per_second must be >= 1$/],
      [{ limits: { tracked_ips: 5 }, log: { level: 'trace' } }, /^log\.level cannot be trace$/],
      [{ limits: { trackd_ips: 5 }, viewer: { port: -1 } }, /^viewer\.port must be >= 0\nunknown key limits\.trackd_ips; did you mean tracked_ips\?$/]
    ] as const) {
      made.file = layers(tree)
      const { config, hash } = live
      await assert.rejects(live.reload(), refused(message))
      assert.deepEqual([live.config === config, live.hash === hash, made.applied.length, live.lastReload.success], [true, true, 0, false])
    }
    made.file = layers({ limits: Object.fromEntries(Array.from({ length: 5_000 }, (_, n) => [`key_${n}`, n])) })
    await assert.rejects(live.reload(), ({ message }: Error) => message.length < 20_000)
    made.file = layers({ limits: { tracked_ips: 5 } })
    await live.reload()
    assert.deepEqual([live.lastReload, made.applied.length], [{ success: true, at: 7, problem: null }, 1])
  })

  test('is refused where the mixture with what needs a restart would be none that a file could have', async () => {
    const made = rig(layers({}), {}, ['cache.max_bytes'])
    made.file = layers({ cache: { max_bytes: 2_000_000 }, upstream: { max_object_bytes: 1_000_000 } })
    await assert.rejects(made.live.reload(), refused(/cache\.max_bytes must be at least upstream\.max_object_bytes[^]*restart, which is needed for upstream\.max_object_bytes/))
    assert.equal(made.live.config.cache.max_bytes, 1_099_511_627_776)
  })

  test('one runs at a time, and however many ask meanwhile share the next', async () => {
    const gate = deferred<ConfigLayers>()
    let reads = 0
    const made = rig(layers({}), { source: { file: undefined, complete: async config => config, read: async () => ++reads === 1 ? await gate.promise : layers({ limits: { tracked_ips: reads } }) } })
    const first = made.live.reload()
    await new Promise(resolve => { setImmediate(resolve) })
    const others = Array.from({ length: 50 }, async () => await made.live.reload())
    const set = made.live.set({ 'limits.handshakes_per_second': 3 })
    gate.resolve(layers({ limits: { tracked_ips: 1 } }))
    assert.equal((await first).changed[0]?.after, 1)
    assert.equal(new Set(await Promise.all(others)).size, 1)
    await set
    assert.deepEqual([reads, made.live.config.limits.tracked_ips, made.live.config.limits.handshakes_per_second], [2, 2, 3])
    await made.live.close()
    await assert.rejects(made.live.reload(), { code: 'RELAY_ERR_STOPPING' })
  })

  test('that waits for a file that never comes is given up, and others are made', async () => {
    const abort = new AbortController()
    const deadlines = [abort.signal]
    const made = rig(layers({}), { deadline: () => deadlines.pop() ?? new AbortController().signal, source: { file: undefined, read: async () => await new Promise(() => {}), complete: async config => config } })
    const first = made.live.reload()
    const set = made.live.set({ 'limits.tracked_ips': 100 })
    abort.abort(new DOMException('late', 'TimeoutError'))
    await assert.rejects(first, refused(/cannot be read in time/))
    await set
    assert.equal(made.live.config.limits.tracked_ips, 100)
    const stopped = made.live.reload()
    await made.live.close()
    await assert.rejects(stopped, { code: 'RELAY_ERR_STOPPING' })
  })
})

suite('what is set over the admin API', () => {
  test('is in force and kept, hides what the file says, which a reload tells, and goes when it is dropped', async () => {
    const made = rig(layers({ limits: { tracked_ips: 5_000 } }))
    const { live } = made
    await live.set({ 'limits.tracked_ips': 100 })
    assert.deepEqual([live.config.limits.tracked_ips, made.kept().get('limits.tracked_ips')], [100, { value: 100, since: 7 }])
    await live.set({ 'limits.tracked_ips': 100 })
    assert.equal(made.applied.length, 2, 'what moves by itself is set again')
    made.file = layers({ limits: { tracked_ips: 6_000 } })
    const reload = await live.reload()
    assert.deepEqual([reload.changed, reload.overridden, live.config.limits.tracked_ips], [[], ['limits.tracked_ips'], 100])
    assert.deepEqual(live.report()['limits.tracked_ips'], { value: 100, source: 'api', live: true, configured: { value: 6_000, source: 'file' } })
    await assert.rejects(live.drop('limits.handshakes_per_second'), { code: 'RELAY_ERR_NOT_FOUND' })
    await live.drop('limits.tracked_ips')
    assert.deepEqual([live.config.limits.tracked_ips, made.kept().size, live.report()['limits.tracked_ips']?.configured], [6_000, 0, undefined])
  })

  test('must be what a file could say, and a file must fit it', async () => {
    const made = rig(layers({}), {}, ['bandwidth.viewer_cap_bps', 'bandwidth.viewer_floor_bps'])
    await assert.rejects(made.live.set({ 'bandwidth.viewer_cap_bps': 5, 'bandwidth.viewer_floor_bps': 6 }), { code: 'RELAY_ERR_BAD_REQUEST', message: /viewer_floor_bps must be at most bandwidth\.viewer_cap_bps/ })
    await made.live.set({ 'bandwidth.viewer_cap_bps': 5 })
    made.file = layers({ bandwidth: { viewer_floor_bps: 6 } })
    await assert.rejects(made.live.reload(), refused(/viewer_floor_bps[^]*\nset over the admin API: bandwidth\.viewer_cap_bps/))
    // Which leaves the way out.
    await made.live.drop()
    await made.live.reload()
    assert.equal(made.live.config.bandwidth.viewer_floor_bps, 6)
  })

  test('that a disk refuses is in force all the same, and the error says so', async () => {
    const made = rig(layers({}), { keep: async () => { throw new Error('EIO') } })
    await assert.rejects(made.live.set({ 'limits.tracked_ips': 100 }), { code: 'RELAY_ERR_INTERNAL', message: /in force, and could not be written/ })
    assert.equal(made.live.config.limits.tracked_ips, 100)
  })

  test('and does not fit any more when the relay starts is forgotten, and the rest holds', () => {
    const since = 1
    const overrides: Overrides = new Map([['bandwidth.viewer_floor_bps', { value: 9, since }], ['limits.tracked_ips', { value: 100, since }], ['limits.gone', { value: 1, since }], ['viewer.port', { value: 1, since }]])
    const { live, log } = rig(layers({ bandwidth: { viewer_cap_bps: 5 } }), { overrides })
    assert.deepEqual([live.config.limits.tracked_ips, live.config.bandwidth.viewer_floor_bps, live.config.viewer.port, live.overridden], [100, 0, 9_003, ['limits.tracked_ips']])
    assert.match(log[0] ?? '', /^error .*"keys":\["bandwidth\.viewer_floor_bps","limits\.gone","viewer\.port"\]/)
  })
})

test('secrets are nowhere: not in the report, the log, the answer or the hash', async () => {
  const [one, two] = ['first-secret-of-an-operator', 'second-secret-of-an-operator']
  const tree = (secret: string): ConfigLayers => layers({
    admin: { tokens: [{ token: secret, scope: 'read', name: 'ops' }] },
    auth: { tokens: [secret, { token: `${secret}-2`, class: 'gold' }], jwt: { hs256_secret: `${secret}-of-32-bytes-or-more` }, signed_urls: { keys: [{ kid: 'a', secret: `${secret}-of-32-bytes-or-more` }] } },
    denylist: { url: `https://user:${secret}@lists.example/denied?token=${secret}` }
  })
  const made = rig(tree(one), {}, ['admin.tokens', 'auth.tokens', 'auth.jwt.hs256_secret', 'auth.signed_urls.keys'])
  const { hash } = made.live
  made.file = tree(two)
  const change = await made.live.reload()
  assert.deepEqual([change.changed.map(({ key }) => key), change.restart, change.hash], [['admin.tokens', 'auth.tokens', 'auth.jwt.hs256_secret', 'auth.signed_urls.keys'], ['denylist.url'], hash])
  assert.deepEqual(made.live.report()['auth.tokens']?.value, ['(secret)', { token: '(secret)', class: 'gold' }])
  const told = JSON.stringify([made.live.report(), change, made.log])
  assert.ok(told.includes('"name":"ops"') && told.includes('https://(secret)@lists.example'))
  assert.doesNotMatch(told, /-secret-of-an-operator/)
})

/* A model of the layers: for every key the values that were written, and which of them counts. */
const KEYS = ['limits.tracked_ips', 'limits.handshakes_per_second', 'viewer.max_connections'] as const
type Key = typeof KEYS[number]
const LIVE: readonly Key[] = ['limits.tracked_ips', 'limits.handshakes_per_second']
type Values = Partial<Record<Key, number>>

const pathOf = (key: Key): string[] => key.split('.')
const treeFor = (values: Values): Tree => merge(Object.entries(values).map(([key, value]) => treeOf(pathOf(key as Key), value)))
const values = fc.record(Object.fromEntries(KEYS.map(key => [key, fc.integer({ min: 1, max: 9 })])), { requiredKeys: [] }) as fc.Arbitrary<Values>
const operation = fc.oneof(
  fc.record({ do: fc.constant('write' as const), file: values }),
  fc.record({ do: fc.constant('break' as const) }),
  fc.record({ do: fc.constant('reload' as const) }),
  fc.record({ do: fc.constant('set' as const), key: fc.constantFrom(...LIVE), value: fc.integer({ min: 1, max: 9 }) }),
  fc.record({ do: fc.constant('drop' as const), key: fc.constantFrom(...LIVE) }),
  fc.record({ do: fc.constant('restart' as const) })
)

test('whatever is written, reloaded, set, dropped and restarted, what is in force is what a model of layers says', async () => {
  await fc.assert(fc.asyncProperty(values, fc.array(operation, { maxLength: 15 }), async (environment, operations) => {
    const defaults = checkConfig({})
    const set = new Map<Key, number>()
    let written = {} as Values | 'broken'
    let read: Values = {}
    let startedWith: Values = {}
    const layersNow = (): ConfigLayers => {
      if (written === 'broken') throw new RelayError('RELAY_ERR_CONFIG', 'line 1')
      return layers(treeFor(written), { environment: treeFor(environment) })
    }
    const begin = (overrides: Overrides): Rig => rig(layersNow(), { overrides, source: { file: 'relay.toml', read: async () => layersNow(), complete: async config => config } }, [...LIVE])
    let made = begin(new Map())
    const configured = (key: Key, file: Values): number => environment[key] ?? file[key] ?? valueAt(defaults, pathOf(key)) as number
    for (const one of operations) {
      let kept: Overrides = new Map(Array.from(set, ([key, value]) => [key, { value, since: 7 }]))
      if (one.do === 'write') written = one.file
      else if (one.do === 'break') written = 'broken'
      else if (one.do === 'reload') {
        await made.live.reload().then(() => { read = written as Values }, (error: unknown) => { assert.ok(error instanceof RelayError && written === 'broken') })
        assert.equal(made.live.lastReload.success, written !== 'broken')
      } else if (one.do === 'set') {
        await made.live.set({ [one.key]: one.value })
        set.set(one.key, one.value)
        kept = made.kept()
      } else if (one.do === 'drop') {
        await made.live.drop(one.key).catch((error: unknown) => { assert.ok(error instanceof RelayError && !set.has(one.key)) })
        set.delete(one.key)
      } else if (written !== 'broken') {
        made = begin(kept)
        read = startedWith = written
      }
      for (const key of KEYS) {
        const inForce = valueAt(made.live.config, pathOf(key))
        const wanted = set.get(key) ?? configured(key, read)
        const isLive = LIVE.includes(key)
        assert.equal(inForce, isLive ? wanted : configured(key, startedWith), key)
        const { source, value, pending } = made.live.report()[key] ?? assert.fail(key)
        assert.equal(value, inForce)
        if (isLive) assert.equal(source, set.has(key) ? 'api' : environment[key] !== undefined ? 'environment' : read[key] !== undefined ? 'file' : 'default')
        assert.deepEqual(pending?.value, isLive || wanted === inForce ? undefined : wanted)
      }
      assert.deepEqual(made.live.overridden.toSorted(), [...set.keys()].toSorted())
      assert.ok(made.live.overridden.length <= configKeys().length)
    }
  }), { numRuns: 40 })
})
