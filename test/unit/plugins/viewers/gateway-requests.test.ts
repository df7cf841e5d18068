import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { after } from 'node:test'
import fc from 'fast-check'
import { RelayError } from '../../../../src/base/errors.ts'
import type { ToGateway } from '../../../../src/channel/to-gateway.ts'
import { GatewayRequests } from '../../../../src/plugins/viewers/gateway-requests.ts'
import { pattern } from '../../../../tools/harness/quinn-rig.ts'
import { Channel, FakeShards, GrowingObject, readThrough } from '../../../support/gateway-rig.ts'

const directory = mkdtempSync(join(tmpdir(), 'icn-relay-requests-'))
after(() => { rmSync(directory, { recursive: true, force: true }) })

const SIZE = 5_000
const bodies = Array.from({ length: 4 }, (_, seed) => pattern(SIZE, seed + 1))
// One object in its file, one in memory only, one whose file the gateway cannot open, one that is cut short on disk.
const paths = [join(directory, '0'), undefined, join(directory, 'missing'), join(directory, '3')]
writeFileSync(join(directory, '0'), bodies[0] ?? '')
writeFileSync(join(directory, '3'), (bodies[3] ?? Buffer.alloc(0)).subarray(0, 1_000))

type Step =
  | { readonly do: 'view', readonly object: number, readonly chunk: number }
  | { readonly do: 'abort', readonly viewer: number }
  | { readonly do: 'grow', readonly object: number, readonly to: number }
  | { readonly do: 'fail', readonly object: number }
  | { readonly do: 'deliver', readonly direction: 'relay' | 'gateway', readonly count: number }
  | { readonly do: 'turn' }
  | { readonly do: 'kill' }

const small = fc.integer({ min: 0, max: 3 })
const steps: fc.Arbitrary<Step[]> = fc.array(fc.oneof(
  { weight: 20, arbitrary: fc.record({ do: fc.constant('view' as const), object: fc.integer({ min: 0, max: 4 }), chunk: fc.integer({ min: 300, max: 4_000 }) }) },
  { weight: 15, arbitrary: fc.record({ do: fc.constant('abort' as const), viewer: fc.nat({ max: 20 }) }) },
  { weight: 15, arbitrary: fc.record({ do: fc.constant('grow' as const), object: small, to: fc.nat({ max: SIZE }) }) },
  { weight: 5, arbitrary: fc.record({ do: fc.constant('fail' as const), object: small }) },
  { weight: 40, arbitrary: fc.record({ do: fc.constant('deliver' as const), direction: fc.constantFrom('relay' as const, 'gateway' as const), count: fc.integer({ min: 1, max: 5 }) }) },
  { weight: 30, arbitrary: fc.constant({ do: 'turn' as const }) },
  { weight: 1, arbitrary: fc.constant({ do: 'kill' as const }) }
), { maxLength: 80 })

const turn = async (): Promise<void> => { await new Promise(resolve => { setImmediate(resolve) }) }

test('resolves, reads, aborts, growth, failures and deaths in any order: right bytes, nothing lent for ever, nothing given back twice', { timeout: 240_000 }, async () => {
  await fc.assert(fc.asyncProperty(steps, async script => {
    const shards = new FakeShards()
    bodies.forEach((bytes, position) => { shards.objects.set(`o${position}`, new GrowingObject(bytes, paths[position])) })
    const channel = new Channel(shards, { prompt: false })
    const viewers: { abort: AbortController, result: Promise<unknown> }[] = []
    let dead = false
    for (const step of script) {
      switch (step.do) {
        case 'view': {
          const abort = new AbortController()
          const viewed = readThrough(channel.source, { cid: `o${step.object}`, part: 0 }, abort.signal, step.chunk)
          viewers.push({
            abort,
            result: viewed.then(bytes => { assert.ok(bodies[step.object]?.equals(bytes) === true) }, (error: unknown) => {
              if (error instanceof assert.AssertionError) throw error
            })
          })
          break
        }
        case 'abort': viewers[step.viewer]?.abort.abort(); break
        case 'grow': shards.objects.get(`o${step.object}`)?.grow(step.to); break
        case 'fail': shards.objects.get(`o${step.object}`)?.fail(); break
        case 'deliver': channel.deliver(step.direction, step.count); break
        case 'turn': await turn(); break
        case 'kill':
          channel.kill()
          dead = true
          break
      }
      assert.equal(shards.twice, 0)
    }
    for (const object of shards.objects.values()) object.fail()
    // Viewers of a dead gateway die with it, as their process does.
    if (dead) for (const { abort } of viewers) abort.abort()
    const all = Promise.all(viewers.map(async ({ result }) => { await result }))
    let done = false
    void all.finally(() => { done = true }).catch(() => {})
    while (!done || channel.waiting > 0) {
      channel.deliver('relay', 100)
      channel.deliver('gateway', 100)
      await turn()
      if (dead && done) break
    }
    await all
    // Files are closed behind the viewers' backs, and news of an object that was given back meanwhile leaves with the next message.
    const unsettled = (): boolean => channel.source.sizes()['source.openFiles'] !== 0 || channel.requests.sizes()['relay.progress'] !== 0
    for (const end = Date.now() + 2_000; unsettled() && !dead && Date.now() < end;) await turn()
    await turn()
    assert.equal(shards.twice, 0)
    assert.equal(shards.opened, shards.released)
    assert.deepEqual(Object.values(channel.requests.sizes()), [0, 0, 0, 0])
    assert.equal(channel.responses.open, 0)
    const { 'source.resolving': resolving, 'source.reading': reading, 'source.openFiles': openFiles, 'source.leases': leases } = channel.source.sizes()
    if (!dead) assert.deepEqual({ resolving, reading, openFiles, leases }, { resolving: 0, reading: 0, openFiles: 0, leases: 0 })
  }), { numRuns: 300 })
})

function requestsOf (shards: FakeShards, sent: ToGateway[], hold: (() => void)[] = []): GatewayRequests {
  return new GatewayRequests(shards, (message, done = () => {}) => {
    sent.push(message)
    hold.push(done)
  })
}

test('an object that arrives after the gateway has died is given back', async () => {
  const shards = new FakeShards()
  shards.objects.set('a', new GrowingObject(bodies[0] ?? Buffer.alloc(0), undefined))
  let open = (): void => {}
  shards.gate = new Promise(resolve => { open = resolve })
  const requests = requestsOf(shards, [])
  requests.take({ type: 'resolve', id: 1, key: { cid: 'a', part: 0 }, address: '192.0.2.1' })
  requests.end()
  open()
  await turn()
  assert.deepEqual([shards.opened, shards.released, requests.leases], [1, 1, 0])
})

test('a gateway that asks twice under one id gets one lease for it', async () => {
  const shards = new FakeShards()
  shards.objects.set('a', new GrowingObject(bodies[0] ?? Buffer.alloc(0), undefined))
  const sent: ToGateway[] = []
  const requests = requestsOf(shards, sent)
  for (let count = 0; count < 2; count++) requests.take({ type: 'resolve', id: 1, key: { cid: 'a', part: 0 }, address: '192.0.2.1' })
  await turn()
  assert.deepEqual([requests.leases, sent.map(message => message.type)], [1, ['rejected', 'resolved']])
})

test('a lease the gateway does not hold, and positions outside the object, are refused', async () => {
  const shards = new FakeShards()
  const object = new GrowingObject(bodies[0] ?? Buffer.alloc(0), undefined)
  object.grow(SIZE)
  shards.objects.set('a', object)
  const sent: ToGateway[] = []
  const requests = requestsOf(shards, sent)
  requests.take({ type: 'resolve', id: 1, key: { cid: 'a', part: 0 }, address: '192.0.2.1' })
  await turn()
  requests.take({ type: 'read', id: 2, lease: 99, position: 0, length: 1 })
  requests.take({ type: 'read', id: 3, lease: 0, position: SIZE, length: 1 })
  requests.take({ type: 'read', id: 4, lease: 0, position: SIZE - 1, length: 1e9 })
  await turn()
  assert.deepEqual(sent.slice(1).map(message => [message.type, message.type === 'bytes' ? message.chunk.length : undefined]), [['rejected', undefined], ['rejected', undefined], ['bytes', 1]])
})

test('bytes the channel has not taken are bounded, and viewers that wait for an origin do not count', async () => {
  const shards = new FakeShards()
  const big = new GrowingObject(Buffer.alloc(1024 * 1024), undefined)
  big.grow(big.bytes.length)
  shards.objects.set('big', big)
  shards.objects.set('slow', new GrowingObject(Buffer.alloc(1024 * 1024), undefined))
  const sent: ToGateway[] = []
  const hold: (() => void)[] = []
  const requests = requestsOf(shards, sent, hold)
  requests.take({ type: 'resolve', id: 0, key: { cid: 'slow', part: 0 }, address: '192.0.2.1' })
  requests.take({ type: 'resolve', id: 1, key: { cid: 'big', part: 0 }, address: '192.0.2.1' })
  await turn()
  for (let id = 100; id < 1_100; id++) requests.take({ type: 'read', id, lease: id < 600 ? 0 : 1, position: 0, length: 65_536 })
  for (let count = 0; count < 5; count++) await turn()
  const bytes = (): number => sent.reduce((sum, message) => sum + (message.type === 'bytes' ? message.chunk.length : 0), 0)
  assert.equal(bytes(), 16 * 1024 * 1024)
  // The channel takes everything: the rest follows.
  while (hold.length > 0) {
    for (const done of hold.splice(0)) done()
    await turn()
  }
  assert.equal(bytes(), 500 * 65_536)
  for (let id = 100; id < 600; id++) requests.take({ type: 'cancel', id })
  shards.objects.get('slow')?.fail()
  await turn()
  assert.equal(requests.sizes()['relay.reading'], 0)
})

test('hundreds of viewers of one growing file cost one message a few milliseconds, and none while the channel is full', { timeout: 240_000 }, async () => {
  const shards = new FakeShards()
  const object = new GrowingObject(bodies[0] ?? Buffer.alloc(0), paths[0])
  shards.objects.set('a', object)
  const sent: ToGateway[] = []
  const hold: (() => void)[] = []
  const requests = requestsOf(shards, sent, hold)
  for (let id = 0; id < 300; id++) requests.take({ type: 'resolve', id, key: { cid: 'a', part: 0 }, address: '192.0.2.1' })
  await turn()
  for (const done of hold.splice(0)) done()
  const progress = (): Extract<ToGateway, { type: 'progress' }>[] => sent.filter(message => message.type === 'progress')
  for (let to = 100; to < SIZE; to += 100) {
    object.grow(to)
    await turn()
  }
  while (progress().length === 0) await turn()
  // The first message is not taken yet: whatever happens, there is no second.
  for (let count = 0; count < 50; count++) await new Promise(resolve => { setTimeout(resolve, 1) })
  assert.equal(progress().length, 1)
  assert.equal(progress()[0]?.leases.length, 300)
  object.grow(SIZE)
  for (const done of hold.splice(0)) done()
  while (progress().length < 2) await new Promise(resolve => { setTimeout(resolve, 1) })
  assert.ok(progress()[1]?.leases.every(([, readable]) => readable >= SIZE - 100))
  requests.end()
  assert.deepEqual([shards.opened, shards.released], [300, 300])
})

test('a failure of the origin reaches the viewer with its code', async () => {
  const shards = new FakeShards()
  for (const [name, path] of [['file', paths[0]], ['memory', undefined]] as const) {
    const object = new GrowingObject(bodies[0] ?? Buffer.alloc(0), path)
    object.grow(1_000)
    shards.objects.set(name, object)
    const channel = new Channel(shards)
    await assert.rejects(readThrough(channel.source, { cid: name, part: 0 }, new AbortController().signal, 500, position => {
      if (position >= 1_000) object.fail()
    }), (error: unknown) => error instanceof RelayError && error.code === 'RELAY_ERR_UPSTREAM_BODY')
  }
})
