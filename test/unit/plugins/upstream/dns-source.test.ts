import assert from 'node:assert/strict'
import { Resolver } from 'node:dns/promises'
import { suite, test, type TestContext } from 'node:test'
import fc from 'fast-check'
import { deferred } from '../../../../src/base/deferred.ts'
import { fromAddresses, fromServices, MAX_TTL_MS, MIN_TTL_MS, refreshDelay, RETRY_INITIAL_MS, RETRY_MAX_MS, retryDelay, SRV_TTL_MS, type DnsQuery } from '../../../../src/plugins/upstream/sources/dns-answer.ts'
import { DnsSource, type NameResolver } from '../../../../src/plugins/upstream/sources/dns.ts'
import { configuredSource } from '../../../../src/plugins/upstream/sources/configured.ts'
import { MergedSource } from '../../../../src/plugins/upstream/sources/merged.ts'
import { MAX_NODES, sameNodes, uniqueNodes, type NodeSource, type NodeSpec } from '../../../../src/plugins/upstream/sources/node-source.ts'
import { StaticSource } from '../../../../src/plugins/upstream/sources/static.ts'
import { NXDOMAIN, SERVFAIL, startDnsServer, type DnsServer } from '../../../support/dns-server.ts'

const QUERY: DnsQuery = { dns: 'origin.example', type: 'A', scheme: 'http', port: 9002, region: 'APAC', role: 'origin' }
const SRV: DnsQuery = { ...QUERY, dns: '_relay._tcp.example.org', type: 'SRV', scheme: 'https' }

/** Timers that run when the test says so. */
class Agenda {
  readonly delays: number[] = []
  cancelled = 0
  #work: (() => void) | undefined

  readonly schedule = (work: () => void, ms: number): (() => void) => {
    this.delays.push(ms)
    this.#work = work
    return () => {
      if (this.#work !== work) return
      this.cancelled++
      this.#work = undefined
    }
  }

  get empty (): boolean { return this.#work === undefined }

  run (): void {
    const work = this.#work
    this.#work = undefined
    assert.ok(work, 'nothing is scheduled')
    work()
  }
}

interface Setup {
  readonly source: DnsSource
  readonly server: DnsServer
  readonly agenda: Agenda
  readonly lists: string[][]
  readonly logged: [level: string, message: string, fields: Record<string, unknown>][]
  readonly start: () => Promise<void>
  /** Runs the scheduled look-up and waits until the next is scheduled. */
  readonly next: () => Promise<void>
}

async function setUp (t: TestContext, query: DnsQuery): Promise<Setup> {
  const server = await startDnsServer(t)
  const resolver = new Resolver({ timeout: 50, tries: 1 })
  resolver.setServers([server.address])
  const agenda = new Agenda()
  const lists: string[][] = []
  const logged: Setup['logged'] = []
  let scheduled = deferred<undefined>()
  const source = new DnsSource({
    ...query,
    resolver,
    random: () => 0,
    schedule: (work, ms) => {
      scheduled.resolve(undefined)
      return agenda.schedule(work, ms)
    },
    log: (...line) => { logged.push(line) }
  })
  t.after(async () => { await source.close() })
  return {
    source,
    server,
    agenda,
    lists,
    logged,
    start: async () => { await source.start(nodes => { lists.push(nodes.map(({ url }) => url)) }) },
    next: async () => {
      scheduled = deferred<undefined>()
      agenda.run()
      await scheduled.promise
    }
  }
}

suite('a source over a real name server', () => {
  test('addresses become nodes, looked up again by the shortest time to live, and told when they differ', async t => {
    const { server, agenda, lists, start, next } = await setUp(t, QUERY)
    server.answer = [{ type: 'A', ttl: 300, data: '10.0.0.2' }, { type: 'A', ttl: 60, data: '10.0.0.1' }]
    await start()
    assert.deepEqual(lists, [['http://10.0.0.1:9002', 'http://10.0.0.2:9002']])
    server.answer = server.answer.toReversed()
    await next()
    assert.equal(lists.length, 1, 'another order is not a change')
    server.answer = [{ type: 'A', ttl: 0, data: '10.0.0.3' }]
    await next()
    assert.deepEqual(lists[1], ['http://10.0.0.3:9002'])
    assert.deepEqual(agenda.delays, [60_000, 60_000, MIN_TTL_MS])
    assert.deepEqual(server.questions, Array.from({ length: 3 }, () => 'A origin.example'))
  })

  test('IPv6 addresses stand in brackets', async t => {
    const { server, lists, start } = await setUp(t, { ...QUERY, type: 'AAAA' })
    server.answer = [{ type: 'AAAA', ttl: 10, data: '2001:db8::7' }]
    await start()
    assert.deepEqual(lists, [['http://[2001:db8::7]:9002']])
  })

  test('services bring their ports, preferred ones first', async t => {
    const { server, agenda, lists, start, next } = await setUp(t, SRV)
    server.answer = [
      { type: 'SRV', ttl: 5, data: '20 0 9002 backup.example.org' },
      { type: 'SRV', ttl: 5, data: '10 1 9443 light.example.org' },
      { type: 'SRV', ttl: 5, data: '10 9 443 Heavy.example.org' }
    ]
    await start()
    assert.deepEqual(lists, [['https://heavy.example.org', 'https://light.example.org:9443', 'https://backup.example.org:9002']])
    assert.equal(agenda.delays[0], SRV_TTL_MS)
    // "The service is decidedly not available" (RFC 2782) is a failure like any other.
    server.answer = [{ type: 'SRV', ttl: 5, data: '0 0 0 .' }]
    await next()
    assert.equal(lists.length, 1)
  })

  test('failures of every kind keep the last good answer, back off, and end', async t => {
    const { server, agenda, lists, logged, start, next } = await setUp(t, QUERY)
    server.answer = [{ type: 'A', ttl: 60, data: '10.0.0.1' }]
    await start()
    for (const failure of [NXDOMAIN, SERVFAIL, 'silence' as const, []]) {
      server.answer = failure
      await next()
    }
    assert.equal(lists.length, 1, 'nothing was taken away')
    assert.deepEqual(agenda.delays.slice(1), [2_500, 5_000, 10_000, 20_000])
    const warnings = logged.filter(([level]) => level === 'warn')
    assert.deepEqual(warnings.map(([, , fields]) => [fields['reason'], fields['failures'], fields['nodes']]), [['ENOTFOUND', 1, 1], ['ESERVFAIL', 2, 1], ['ETIMEOUT', 3, 1], ['ENODATA', 4, 1]])
    server.answer = [{ type: 'A', ttl: 60, data: '10.0.0.2' }]
    await next()
    assert.deepEqual(lists[1], ['http://10.0.0.2:9002'])
    assert.equal(agenda.delays.at(-1), 60_000)
    assert.deepEqual(logged.slice(-2).map(([, message]) => message), ['name resolves again', 'nodes found'])
  })

  test('asked to look again, it does so immediately, once for all who ask, and by the time to live from then on', async t => {
    const { source, server, agenda, lists, start } = await setUp(t, QUERY)
    await source.refresh()
    assert.deepEqual(server.questions, [], 'not before the start')
    server.answer = [{ type: 'A', ttl: 3_000, data: '10.0.0.1' }]
    await start()
    server.answer = [{ type: 'A', ttl: 60, data: '10.0.0.2' }]
    await Promise.all([source.refresh(), source.refresh(), source.refresh()])
    assert.deepEqual(lists, [['http://10.0.0.1:9002'], ['http://10.0.0.2:9002']])
    assert.deepEqual(agenda.delays, [3_000_000, 60_000])
    assert.equal(agenda.cancelled, 1, 'what was due later is off')
    assert.equal(server.questions.length, 2)
    // What is under way has asked already: its answer is from before the change.
    const early = source.refresh()
    await new Promise(resolve => { setImmediate(resolve) })
    const late = [source.refresh(), source.refresh()]
    await early
    server.answer = [{ type: 'A', ttl: 60, data: '10.0.0.3' }]
    await Promise.all(late)
    assert.deepEqual(lists.slice(2), [['http://10.0.0.3:9002']])
    assert.equal(server.questions.length, 4)
    await source.close()
    await source.refresh()
    assert.equal(server.questions.length, 4)
    assert.ok(agenda.empty)
  })

  test('a first look-up that fails starts the relay all the same, with nothing reported', async t => {
    const { server, agenda, lists, start, next } = await setUp(t, QUERY)
    server.answer = 'silence'
    await start()
    assert.deepEqual(lists, [])
    assert.deepEqual(agenda.delays, [RETRY_INITIAL_MS / 2])
    server.answer = [{ type: 'A', ttl: 60, data: '10.0.0.1' }]
    await next()
    assert.deepEqual(lists, [['http://10.0.0.1:9002']])
  })

  test('closing ends a look-up under way and reports nothing after', async t => {
    const { source, server, agenda, lists, start } = await setUp(t, QUERY)
    server.answer = 'silence'
    const starting = start()
    await source.close()
    await starting
    assert.ok(agenda.empty)
    assert.deepEqual(lists, [])
    await source.close()
  })

  test('at most 64 nodes are taken from an answer', async t => {
    const { server, lists, start } = await setUp(t, QUERY)
    // UDP without EDNS carries 512 bytes; c-ares asks with EDNS, so 70 records fit.
    server.answer = Array.from({ length: 70 }, (_, n) => ({ type: 'A' as const, ttl: 60, data: `10.0.0.${n + 1}` }))
    await start()
    assert.equal(lists[0]?.length, MAX_NODES)
  })
})

test('an answer that comes after close is dropped', async () => {
  const answer = deferred<{ address: string, ttl: number }[]>()
  const resolver: NameResolver = { resolve4: async () => await answer.promise, resolve6: async () => [], resolveSrv: async () => [], cancel: () => {} }
  const agenda = new Agenda()
  const lists: unknown[] = []
  const source = new DnsSource({ ...QUERY, resolver, random: () => 0, schedule: agenda.schedule, log: () => {} })
  const starting = source.start(nodes => { lists.push(nodes) })
  await source.close()
  answer.resolve([{ address: '10.0.0.1', ttl: 1 }])
  await starting
  assert.deepEqual(lists, [])
  assert.ok(agenda.empty)
})

suite('times', () => {
  const random = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true })

  test('look-ups come when the time to live ends or a tenth before, within 5 s and 1 h', () => {
    fc.assert(fc.property(fc.oneof(fc.double(), fc.integer({ min: 0, max: 10 * MAX_TTL_MS })), random, (ttl, chance) => {
      const delay = refreshDelay(ttl, chance)
      assert.ok(delay >= MIN_TTL_MS && delay <= MAX_TTL_MS, String(delay))
      if (ttl >= MIN_TTL_MS && ttl <= MAX_TTL_MS) assert.ok(delay <= ttl && delay >= Math.max(MIN_TTL_MS, ttl * 0.9))
    }))
  })

  test('pauses after failures double up to 5 min, the upper half random', () => {
    fc.assert(fc.property(fc.integer({ min: 1, max: 5_000 }), random, (failures, chance) => {
      const delay = retryDelay(failures, chance)
      const full = Math.min(RETRY_MAX_MS, RETRY_INITIAL_MS * 2 ** (failures - 1))
      assert.ok(delay >= full / 2 && delay <= full)
    }))
  })
})

suite('answers', () => {
  test('any addresses: valid origins, each once, bounded, the shortest time to live', () => {
    const address = fc.oneof(fc.ipV4(), fc.ipV6())
    fc.assert(fc.property(fc.array(fc.record({ address, ttl: fc.nat() }), { maxLength: 150 }), records => {
      const answer = fromAddresses(records, QUERY)
      if (records.length === 0) return assert.equal(answer, undefined)
      assert.ok(answer)
      assert.ok(answer.nodes.length > 0 && answer.nodes.length <= MAX_NODES)
      assert.equal(new Set(answer.nodes.map(({ url }) => url)).size, answer.nodes.length)
      for (const { url } of answer.nodes) assert.equal(new URL(url).origin, url)
      assert.equal(answer.ttlMs, Math.min(...records.map(({ ttl }) => ttl)) * 1_000)
    }))
  })

  test('services that cannot be asked are left out', () => {
    const record = { priority: 0, weight: 0 }
    assert.equal(fromServices([{ ...record, name: '', port: 1 }, { ...record, name: 'a b', port: 1 }, { ...record, name: 'a', port: 0 }], SRV), undefined)
    assert.deepEqual(fromServices([{ ...record, name: 'a/b', port: 1 }, { ...record, name: 'a', port: 1 }], SRV)?.nodes.map(({ url }) => url), ['https://a:1'])
  })
})

/** A source whose lists come from the test. */
class Told implements NodeSource {
  readonly name = 'told'
  refreshed = 0
  tell: (nodes: readonly NodeSpec[]) => void = () => {}
  closed = false
  async start (onChange: (nodes: readonly NodeSpec[]) => void): Promise<void> { this.tell = onChange }
  async refresh (): Promise<void> { this.refreshed++ }
  async close (): Promise<void> { this.closed = true }
}

const node = (url: string, region = 'APAC'): NodeSpec => ({ url, region, role: 'origin' })

suite('several sources as one', () => {
  test('the configured nodes come first and decide; a change is told when the whole differs', async () => {
    const told = new Told()
    const source = new MergedSource([new StaticSource([{ url: 'http://A:80/', region: 'NA-WEST' }, { url: 'http://b', region: 'MENA', role: 'relay' }]), told])
    const lists: (readonly NodeSpec[])[] = []
    await source.start(nodes => { lists.push(nodes) })
    const fixed = [node('http://a', 'NA-WEST'), { ...node('http://b', 'MENA'), role: 'relay' }]
    assert.deepEqual(lists, [fixed])
    told.tell([node('http://a'), node('http://c')])
    assert.deepEqual(lists[1], [...fixed, node('http://c')])
    told.tell([node('http://c')])
    assert.equal(lists.length, 2)
    told.tell([])
    assert.deepEqual(lists[2], fixed)
    await source.refresh()
    assert.equal(told.refreshed, 1)
    await source.close()
    assert.ok(told.closed)
    told.tell([node('http://d')])
    assert.equal(lists.length, 3)
  })

  test('the configuration may name others, which is told when somebody listens, and never after the end', async () => {
    const own = new StaticSource([{ url: 'http://a', region: 'APAC' }])
    own.set([{ url: 'http://B:80', region: 'APAC' }])
    const lists: (readonly NodeSpec[])[] = []
    await own.start(nodes => { lists.push(nodes) })
    own.set([])
    own.set([{ url: 'http://c', region: 'MENA' }])
    await own.close()
    own.set([{ url: 'http://d', region: 'MENA' }])
    assert.deepEqual(lists, [[node('http://b')], [], [node('http://c', 'MENA')]])
  })

  test('the merged list is the union, each once, bounded, and told exactly when it changes', async () => {
    const urls = fc.array(fc.integer({ min: 0, max: 120 }).map(n => `http://n${n}`), { maxLength: 100 })
    await fc.assert(fc.asyncProperty(fc.array(fc.tuple(fc.nat({ max: 2 }), urls), { maxLength: 20 }), async changes => {
      const sources = [new Told(), new Told(), new Told()]
      const latest: string[][] = [[], [], []]
      const lists: (readonly NodeSpec[])[] = [[]]
      const merged = new MergedSource(sources)
      await merged.start(nodes => { lists.push(nodes) })
      for (const [position, list] of changes) {
        latest[position] = list
        sources[position]?.tell(uniqueNodes(list.map(url => node(url))))
        const known = lists.at(-1) ?? []
        const union = [...new Set(latest.flatMap(urls => [...new Set(urls)].slice(0, MAX_NODES)))].slice(0, MAX_NODES)
        assert.ok(known.length <= MAX_NODES)
        assert.deepEqual(known.map(({ url }) => url).toSorted(), union.toSorted())
      }
      for (let at = 1; at < lists.length; at++) assert.ok(!sameNodes(lists[at] ?? [], lists[at - 1] ?? []))
    }))
  })
})

test('the sources of the configuration: its nodes, then those its names stand for', async t => {
  const server = await startDnsServer(t)
  server.answer = [{ type: 'A', ttl: 60, data: '10.0.0.1' }]
  const source = configuredSource({
    super_nodes: [{ url: 'http://origin.example:9002/', region: 'APAC' }],
    dns: [{ dns: 'more.example', type: 'A', region: 'MENA', role: 'relay' }],
    dns_servers: [server.address]
  }, { random: () => 0, schedule: new Agenda().schedule, log: () => {} })
  t.after(async () => { await source.close() })
  let known: readonly NodeSpec[] = []
  await source.start(nodes => { known = nodes })
  assert.deepEqual(known, [node('http://origin.example:9002'), { url: 'http://10.0.0.1:9002', region: 'MENA', role: 'relay' }])
  assert.equal(source.name, 'static, dns A more.example')
})
