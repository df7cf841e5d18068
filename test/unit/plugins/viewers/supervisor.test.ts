import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import test, { type TestContext } from 'node:test'
import { systemClock } from '../../../../src/base/clock.ts'
import { childGateways } from '../../../../src/spawn/gateway-process.ts'
import type { GatewaySettings } from '../../../../src/channel/to-gateway.ts'
import { LiveRecord } from '../../../../src/plugins/viewers/live-record.ts'
import { Supervisor, type GatewayEnd } from '../../../../src/plugins/viewers/supervisor.ts'
import { LIVE_SETTINGS } from '../../../support/live-settings.ts'
import { FakeShards, GrowingObject } from '../../../support/gateway-rig.ts'
import { until } from '../../../../tools/harness/http.ts'
import { temporaryDirectory } from '../../../../tools/harness/temporary-directory.ts'

const LIMIT = { timeout: 240_000 }
/** What every program has: `send`, and `onMessage`, which calls back for each message, those that came before it included. */
const PRELUDE = `import { Socket } from 'node:net'
import { Channel, CHANNEL_FD } from ${JSON.stringify(new URL('../../../../src/channel/channel.ts', import.meta.url).href)}
const early = []
let listener
const channel = new Channel(new Socket({ fd: CHANNEL_FD, readable: true, writable: true }), {
  message: m => { if (listener) listener(m); else early.push(m) }, broken: () => process.exit(1), closed: () => process.exit(0)
})
const send = m => { channel.send(m) }
const onMessage = callback => { listener = callback; for (const m of early.splice(0)) callback(m) }`
const LISTENING = "send({ type: 'listening', info: { notes: ['a note'], open: { websocket: { port: 9, description: 'fake' } } } })"

interface Rig { readonly supervisor: Supervisor, readonly live: LiveRecord, readonly shards: FakeShards, readonly ends: GatewayEnd[], readonly lines: string[], readonly settings: () => number }

/** A supervisor whose gateway is the program given. */
async function rig (t: TestContext, program: string, options: { hangMs?: number, maxRssBytes?: number } = {}): Promise<Rig> {
  const entry = join(await temporaryDirectory(t), 'gateway.mjs')
  await writeFile(entry, `${PRELUDE}\n${program}`)
  const ends: GatewayEnd[] = []
  const lines: string[] = []
  const shards = new FakeShards()
  let asked = 0
  const live = new LiveRecord(LIVE_SETTINGS, systemClock)
  const supervisor = new Supervisor({
    start: childGateways({ shards: tmpdir(), engine: tmpdir() }, { entry }),
    shards,
    live,
    settings: () => {
      asked++
      return { host: 'h' } as unknown as GatewaySettings
    },
    hangMs: options.hangMs ?? 5_000,
    maxRssBytes: options.maxRssBytes ?? 1e9,
    clock: systemClock,
    observer: { restarted: reason => { ends.push(reason) }, heartbeat: () => {}, demand: () => {}, access: () => {}, listening: () => {} },
    log: (level, message, fields) => { lines.push(`${level} ${message} ${JSON.stringify(fields ?? {})}`) }
  })
  t.after(async () => { await supervisor.stop(500) })
  return { supervisor, live, shards, ends, lines, settings: () => asked }
}

for (const [what, garbage] of [
  ['a text', "'hello'"], ['nothing', 'null'], ['an unknown type', "{ type: 'exec' }"], ['a label of its own', "{ type: 'heartbeat', stats: { sessions: { 'x\"} 1': 1 }, sizes: {}, rssBytes: 1, counts: { counters: [], latencies: [] } } }"],
  ['a path that is not a key', "{ type: 'resolve', id: 1, key: { cid: '../../../../x', part: 0 }, address: '192.0.2.1' }"], ['a Map', 'new Map()']
] as const) {
  test(`a gateway that says ${what} is replaced, and the relay goes on`, LIMIT, async t => {
    const { supervisor, ends, lines } = await rig(t, `${LISTENING}; send(${garbage}); setInterval(() => {}, 1000)`)
    await supervisor.start()
    await until(async () => ends, all => all.length > 0)
    assert.equal(ends[0], 'protocol')
    assert.ok(lines.some(line => line.startsWith('error gateway broke the protocol')))
  })
}

test('a gateway that ends immediately is started again after growing pauses, and what it printed is in the log', LIMIT, async t => {
  const { supervisor, ends, lines } = await rig(t, "process.stderr.write('native trouble', () => { process.stdout.write(' and more', () => { process.exit(3) }) })")
  const began = performance.now()
  assert.equal(await supervisor.start(), undefined)
  await until(async () => ends, all => all.length >= 4)
  assert.ok(performance.now() - began > 300, 'the pauses are 0, 100 and 200 ms')
  assert.ok(ends.every(end => end === 'exit'))
  const line = lines.find(text => text.startsWith('error gateway ended')) ?? ''
  assert.ok(line.includes('native trouble') && line.includes('and more') && line.includes('"code":3'), line)
  await supervisor.stop(500)
  const after = ends.length
  await new Promise(resolve => { setTimeout(resolve, 1_000) })
  assert.equal(ends.length, after, 'nothing is started after the stop')
})

test('a program that is not there is an end like any other', LIMIT, async t => {
  const { supervisor, ends } = await rig(t, "throw new Error('broken build')")
  await supervisor.start()
  await until(async () => ends, all => all.length > 0)
})

test('silence after the listeners are open is a hang, too much memory is reported as such', LIMIT, async t => {
  const silent = await rig(t, `${LISTENING}; setInterval(() => {}, 1000)`, { hangMs: 300 })
  assert.deepEqual(await silent.supervisor.start(), { notes: ['a note'], open: { websocket: { port: 9, description: 'fake' } } })
  await until(async () => silent.ends, all => all.length > 0)
  assert.equal(silent.ends[0], 'hang')
  const large = await rig(t, `${LISTENING}; send({ type: 'heartbeat', stats: { sessions: {}, sizes: {}, rssBytes: 2e9, counts: { counters: [], latencies: [] } } }); setInterval(() => {}, 1000)`)
  await large.supervisor.start()
  await until(async () => large.ends, all => all.length > 0)
  assert.equal(large.ends[0], 'memory')
})

test('what a gateway held is released with its end, what arrives later too', LIMIT, async t => {
  const ask = "send({ type: 'resolve', id: 1, key: { cid: 'a', part: 0 }, address: '192.0.2.1' }); send({ type: 'resolve', id: 2, key: { cid: 'a', part: 0 }, address: '192.0.2.1' }); onMessage(m => { if (m.type === 'resolved') process.exit(0) }); setInterval(() => {}, 1000)"
  const { supervisor, shards, ends } = await rig(t, `${LISTENING}; ${ask}`)
  const object = new GrowingObject(Buffer.alloc(10), undefined)
  shards.objects.set('a', object)
  await supervisor.start()
  await until(async () => ends, all => all.length > 0)
  await until(async () => shards, ({ opened, released }) => opened >= 2 && opened === released)
  assert.equal(shards.twice, 0)
})

test('settings are sent once and first, with the live ones as they are then; a drain holds over the end of a gateway', LIMIT, async t => {
  const { supervisor, live, settings, lines } = await rig(t, `let seen = []
    onMessage(m => { seen.push(m.type, m.live.drain?.deadlineMs <= 60000 && m.live.drain?.alternates.join()); send({ type: 'log', level: 'info', message: seen.join(' '), fields: {} }); ${LISTENING} })`)
  live.update({ drain: { deadlineMs: 60_000, alternates: ['http://a'] } })
  await supervisor.start()
  assert.equal(settings(), 1)
  const { pid } = supervisor
  assert.ok(pid !== undefined)
  process.kill(pid, 'SIGKILL')
  await until(async () => lines.filter(line => line.startsWith('info start http://a ')), all => all.length === 2)
  assert.equal(settings(), 2)
})

test('a running gateway is told what changes, and only that; the next one is told all of it', LIMIT, async t => {
  const { supervisor, live, ends, lines } = await rig(t, `onMessage(m => {
      if (m.type === 'start') ${LISTENING}
      send({ type: 'log', level: 'info', message: ['told', process.pid, ...m.type === 'update' ? Object.keys(m.live) : [], m.live.overload.state, ...m.live.overload.targets].join(' '), fields: {} })
      if (m.type === 'update' && m.live.overload.state === 'normal') channel.end()
    })`)
  const told = (): string[] => lines.flatMap(line => /^info told (\d+ .*) \{/.exec(line)?.[1] ?? [])
  const shed = (...targets: string[]): void => { live.update({ overload: { state: 'shedding', targets } }) }
  shed('http://a', 'http://b')
  await supervisor.start()
  const first = supervisor.pid
  shed('http://a', 'http://b')
  shed('http://b')
  await until(async () => told(), all => all.length === 2)
  assert.ok(first !== undefined)
  process.kill(first, 'SIGKILL')
  await until(async () => told(), all => all.length === 3)
  const second = supervisor.pid
  assert.deepEqual(told(), [`${first} shedding http://a http://b`, `${first} overload shedding http://b`, `${second} shedding http://b`])
  live.update({ overload: { state: 'normal', targets: [] } })
  await until(async () => ends, all => all.length >= 2)
  await until(async () => told(), all => all.length === 5)
  assert.match(told()[4] ?? '', /^\d+ normal$/)
})

test('stop: a gateway that does not listen to it is killed at the deadline, and questions to it are answered', LIMIT, async t => {
  const { supervisor, lines } = await rig(t, `${LISTENING}; setInterval(() => {}, 1000)`)
  await supervisor.start()
  const asked = assert.rejects(supervisor.sessions(), { code: 'RELAY_ERR_GATEWAY' })
  const began = performance.now()
  await Promise.all([supervisor.stop(400), supervisor.stop(400)])
  assert.ok(performance.now() - began < 3_000)
  await asked
  assert.equal(supervisor.pid, undefined)
  assert.equal(await supervisor.start(), undefined)
  assert.equal(supervisor.pid, undefined, 'a supervisor that has stopped starts nothing')
  assert.match(lines.at(-1) ?? '', /^warn gateway ended otherwise than it was told \{"reason":"hang","code":null,"signal":"SIGKILL"/)
})

test('stop: a gateway that crashes meanwhile is in the log, one that ends with 0 is not', LIMIT, async t => {
  for (const [end, lines] of [["process.kill(process.pid, 'SIGABRT')", 1], ['process.exit(134)', 1], ['process.exit(0)', 0]] as const) {
    const seen = await rig(t, `${LISTENING}; onMessage(({ type }) => { if (type === 'stop') ${end} })`)
    await seen.supervisor.start()
    await seen.supervisor.stop(20_000)
    assert.equal(seen.lines.filter(line => line.startsWith('warn gateway ended otherwise')).length, lines, end)
  }
})
