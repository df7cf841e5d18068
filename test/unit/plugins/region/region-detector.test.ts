import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import { suite, test, type TestContext } from 'node:test'
import { createServer as createTlsServer } from 'node:tls'
import { systemClock } from '../../../../src/base/clock.ts'
import type { DetectionOutcome } from '../../../../src/plugins/region/choice.ts'
import { socketHandshake } from '../../../../src/plugins/region/handshake.ts'
import { SAMPLES } from '../../../../src/plugins/region/measurement.ts'
import { RegionDetector, type RegionDetectorOptions } from '../../../../src/plugins/region/region-detector.ts'
import { sampleNodes, type Handshake, type SampledNode } from '../../../../src/plugins/region/sampler.ts'
import { createSelfSigned } from '../../../../src/plugins/tls/self-signed.ts'
import { RelayError } from '../../../../src/base/errors.ts'

const node = (id: string, region = 'NA-WEST'): SampledNode => ({ id, url: `http://${id}`, region })
const NEVER = new Promise<never>(() => {})

/** Lets everything run that waits for no time and no socket. */
async function settle (): Promise<void> {
  for (let n = 0; n < 20; n++) await new Promise(resolve => { setImmediate(resolve) })
}

suite('sampler', () => {
  test('takes three samples of every node, one at a time on a node and all nodes at the same time', async () => {
    const now = new Map<string, number>()
    const calls: string[] = []
    let widest = 0
    const handshake: Handshake = async url => {
      calls.push(url)
      now.set(url, (now.get(url) ?? 0) + 1)
      assert.equal(now.get(url), 1, 'one at a time')
      widest = Math.max(widest, [...now.values()].reduce((sum, value) => sum + value, 0))
      await settle()
      now.set(url, 0)
      return calls.filter(call => call === url).length * 10
    }
    const nodes = Array.from({ length: 64 }, (_, n) => node(`n${n}`, n % 2 === 0 ? 'APAC' : 'MENA'))
    const measured = await sampleNodes(nodes, handshake, new AbortController().signal)
    assert.equal(calls.length, 64 * SAMPLES)
    assert.equal(widest, 64)
    assert.deepEqual(measured, nodes.map(({ id, region }) => ({ id, region, samples: [10, 20, 30], medianMs: 20 })))
  })

  test('a handshake that fails is a failed sample, and what is not a time is none', async () => {
    const answers: Record<string, (number | Error)[]> = { refused: [new Error('x'), new Error('x'), new Error('x')], flaky: [new Error('x'), 7, 8], odd: [NaN, -1, Infinity] }
    const handshake: Handshake = async url => {
      const answer = answers[new URL(url).host]?.shift() ?? assert.fail('a fourth sample')
      if (answer instanceof Error) throw answer
      return answer
    }
    const throwing: Handshake = () => { throw new Error('immediately') }
    const { signal } = new AbortController()
    const measured = await sampleNodes(['refused', 'flaky', 'odd'].map(id => node(id)), handshake, signal)
    assert.deepEqual(measured.map(({ samples, medianMs }) => [samples, medianMs]), [[[null, null, null], null], [[null, 7, 8], 8], [[null, null, null], null]])
    assert.deepEqual((await sampleNodes([node('x')], throwing, signal))[0]?.medianMs, null)
    assert.deepEqual(await sampleNodes([], handshake, signal), [])
  })

  test('ends with the signal, also when no handshake listens to it, and keeps what was measured by then', async () => {
    let started = 0
    const handshake: Handshake = async url => {
      started++
      return url === 'http://fast' ? 3 : await NEVER
    }
    const abort = new AbortController()
    const nodes = [...Array.from({ length: 30 }, (_, n) => node(`hole${n}`)), node('fast')]
    const measuring = sampleNodes(nodes, handshake, abort.signal)
    await settle()
    assert.equal(started, 30 + SAMPLES)
    abort.abort()
    const measured = await measuring
    assert.equal(started, 30 + SAMPLES, 'nothing is begun after the end')
    assert.deepEqual(measured.map(({ medianMs }) => medianMs), [...Array.from({ length: 30 }, () => null), 3])
    assert.ok(measured.every(({ samples }) => samples.length === SAMPLES))
    assert.equal((await sampleNodes([node('fast')], handshake, abort.signal))[0]?.medianMs, null, 'ended before it began')
    assert.equal(started, 30 + SAMPLES)
  })
})

/** A server that counts its sockets, closed with the test. */
async function listening (t: TestContext, server: Server): Promise<{ port: number, open: Set<Socket>, seen: () => number }> {
  const open = new Set<Socket>()
  let seen = 0
  server.on('connection', (socket: Socket) => {
    seen++
    open.add(socket)
    // Only a socket that is read notices the other side going.
    socket.on('error', () => {}).once('close', () => { open.delete(socket) }).resume()
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.after(() => {
    for (const socket of open) socket.destroy()
    server.close()
  })
  return { port: (server.address() as AddressInfo).port, open, seen: () => seen }
}

async function allClosed (open: ReadonlySet<Socket>): Promise<void> {
  while (open.size > 0) await new Promise(resolve => { setImmediate(resolve) })
}

suite('handshake', () => {
  const handshake = socketHandshake(systemClock.monotonic)
  const patient = (): AbortSignal => new AbortController().signal

  test('TCP for http: connects, tells the time, leaves no socket', async t => {
    const { port, open, seen } = await listening(t, createServer())
    for (const host of ['127.0.0.1', 'localhost']) {
      const ms = await handshake(`http://${host}:${port}`, patient())
      assert.ok(ms > 0 && ms < 5_000, `${ms}`)
    }
    assert.equal(seen(), 2)
    await allClosed(open)
  })

  test('TLS for https: the certificate does not matter, only TLS counts, no socket is left', async t => {
    const server = createTlsServer({ ...createSelfSigned([], Date.now()) })
    let secured = 0
    server.on('secureConnection', socket => { secured++; socket.on('error', () => {}) })
    const { port, open } = await listening(t, server)
    const ms = await handshake(`https://127.0.0.1:${port}`, patient())
    assert.ok(ms > 0 && ms < 5_000, `${ms}`)
    await allClosed(open)
    assert.ok(secured <= 1)
  })

  test('what refuses, hangs up or speaks no TLS is an error', async t => {
    const { port: gone } = await listening(t, createServer(socket => { socket.destroy() }))
    const { port: chatty } = await listening(t, createServer(socket => { socket.write('SSH-2.0-OpenSSH\r\n') }))
    await assert.rejects(handshake(`https://127.0.0.1:${gone}`, patient()))
    await assert.rejects(handshake(`https://127.0.0.1:${chatty}`, patient()))
    const closed = createServer()
    closed.listen(0, '127.0.0.1')
    await once(closed, 'listening')
    const { port } = closed.address() as AddressInfo
    closed.close()
    await once(closed, 'close')
    await assert.rejects(handshake(`http://127.0.0.1:${port}`, patient()), { code: 'ECONNREFUSED' })
    await assert.rejects(handshake(`https://127.0.0.1:${port}`, patient()), { code: 'ECONNREFUSED' })
  })

  test('the signal ends a handshake that nobody answers, and its socket with it', async t => {
    const { port, open, seen } = await listening(t, createServer())
    const abort = new AbortController()
    const waiting = handshake(`https://127.0.0.1:${port}`, abort.signal)
    while (seen() === 0) await new Promise(resolve => { setImmediate(resolve) })
    abort.abort()
    await assert.rejects(waiting, /time for the handshake is up/)
    await allClosed(open)
    await assert.rejects(handshake(`http://127.0.0.1:${port}`, abort.signal), /time for the handshake is up/)
  })
})

interface Rig {
  readonly detector: RegionDetector
  /** Latency by node; a node that is not in here is refused. */
  readonly ms: Map<string, number>
  readonly outcomes: DetectionOutcome[]
  /** Handshakes begun. */
  readonly begun: () => number
}

const NODES = [node('na', 'NA-WEST'), node('eu', 'EU-WEST'), node('ap', 'APAC')]

function rig (t: TestContext, ms: Record<string, number>, options: Partial<RegionDetectorOptions> = {}): Rig {
  const latencies = new Map(Object.entries(ms))
  const outcomes: DetectionOutcome[] = []
  let begun = 0
  const detector = new RegionDetector({
    nodes: () => NODES,
    handshake: async url => {
      begun++
      return latencies.get(new URL(url).host) ?? await Promise.reject(new Error('refused'))
    },
    policy: { minSaving: 0.2, marginMs: 5, rounds: 2 },
    timeoutMs: 2_000,
    intervalMs: 3_600_000,
    override: undefined,
    fallback: undefined,
    clock: { now: () => 1_000, monotonic: () => 5 },
    detected: outcome => { outcomes.push(outcome) },
    log: () => {},
    ...options
  })
  t.after(async () => { await detector.close() })
  return { detector, ms: latencies, outcomes, begun: () => begun }
}

suite('detector', () => {
  test('unknown or the fallback first, then detected; listeners hear of a change once', async t => {
    const { detector, ms, outcomes } = rig(t, { na: 50, eu: 150, ap: 200 })
    const heard: string[] = []
    const unsubscribe = detector.onChange(region => { heard.push(region) })
    assert.deepEqual([detector.current, detector.source, detector.detected, detector.last], ['', 'unknown', undefined, undefined])
    const detection = await detector.detect()
    assert.deepEqual([detector.current, detector.source, detection.measuredAt, detector.last], ['NA-WEST', 'detected', 1_000, detection])
    ms.set('eu', 5)
    await detector.detect()
    assert.equal(detector.current, 'NA-WEST')
    await detector.detect()
    assert.equal(detector.current, 'EU-WEST')
    ms.delete('eu')
    await detector.detect()
    assert.equal(detector.current, 'NA-WEST', 'a region out of reach is left immediately')
    ms.clear()
    await detector.detect()
    assert.equal(detector.current, 'NA-WEST', 'nobody in reach keeps the region')
    assert.deepEqual(heard, ['NA-WEST', 'EU-WEST', 'NA-WEST'])
    assert.deepEqual(outcomes, ['first', 'pending', 'changed', 'changed', 'unreachable'])
    unsubscribe()
    detector.setOverride('APAC')
    assert.equal(heard.length, 3)
    const { detector: single } = rig(t, {}, { fallback: 'MENA' })
    assert.deepEqual([single.current, single.source], ['MENA', 'default'])
    await single.detect()
    assert.deepEqual([single.current, single.source], ['MENA', 'default'])
  })

  test('whoever asks while a detection is under way gets that one', async t => {
    const { detector, begun } = rig(t, { na: 1 })
    const [one, two] = await Promise.all([detector.detect(), detector.detect()])
    assert.equal(one, two)
    assert.equal(begun(), NODES.length * SAMPLES)
    assert.notEqual(await detector.detect(), one)
  })

  test('an override wins and nothing is measured by itself; on demand it is, and the override stays', async t => {
    const { detector, begun } = rig(t, { na: 1 }, { override: 'MENA' })
    detector.start()
    await settle()
    assert.deepEqual([detector.current, detector.source, begun()], ['MENA', 'override', 0])
    await detector.detect()
    assert.deepEqual([detector.current, detector.source, detector.detected], ['MENA', 'override', 'NA-WEST'])
    detector.setOverride(undefined)
    assert.deepEqual([detector.current, detector.source], ['NA-WEST', 'detected'])
    await settle()
    assert.equal(begun(), 2 * NODES.length * SAMPLES, 'going back to detection measures immediately')
    detector.setOverride('APAC')
    assert.deepEqual([detector.current, detector.override], ['APAC', 'APAC'])
  })

  test('a handshake that never left for want of a descriptor says nothing of its node: the region stays, and it is measured again soon', async t => {
    t.mock.timers.enable({ apis: ['setTimeout'] })
    let lack = false
    const logs: string[] = []
    const { detector, ms, outcomes } = rig(t, { na: 50, eu: 150 }, {
      handshake: async (url, signal) => {
        const known = ms.get(new URL(url).host)
        if (lack && known === 50) throw Object.assign(new Error('connect EMFILE'), { code: 'EMFILE' })
        if (!lack) return known ?? await Promise.reject(new Error('refused'))
        // The others are given up with it.
        return await new Promise((_resolve, reject) => { signal.addEventListener('abort', () => { reject(new Error('given up')) }) })
      },
      log: (level, message) => { logs.push(`${level} ${message}`) }
    })
    detector.start()
    await settle()
    lack = true
    await assert.rejects(detector.detect(), { code: 'RELAY_ERR_LOCAL_LACK', status: 503 })
    assert.deepEqual([detector.current, outcomes], ['NA-WEST', ['first']])
    t.mock.timers.tick(30_000)
    await settle()
    assert.equal(logs.at(-1), 'warn region is not measured for want of descriptors or ports, it stays')
    lack = false
    t.mock.timers.tick(30_000)
    await settle()
    assert.deepEqual(outcomes, ['first', 'kept'])
  })

  test('detects at the start, after every interval, and sooner when nobody was reached', async t => {
    t.mock.timers.enable({ apis: ['setTimeout'] })
    const { detector, ms, outcomes } = rig(t, {})
    detector.start()
    await settle()
    assert.deepEqual(outcomes, ['unreachable'])
    t.mock.timers.tick(29_999)
    await settle()
    assert.equal(outcomes.length, 1)
    ms.set('ap', 9)
    t.mock.timers.tick(1)
    await settle()
    assert.deepEqual(outcomes, ['unreachable', 'first'])
    t.mock.timers.tick(3_599_999)
    await settle()
    assert.equal(outcomes.length, 2)
    t.mock.timers.tick(1)
    await settle()
    assert.deepEqual(outcomes, ['unreachable', 'first', 'kept'])
    detector.setOverride('MENA')
    t.mock.timers.tick(100_000_000)
    await settle()
    assert.equal(outcomes.length, 3, 'no detection under an override')
  })

  test('a busy relay puts off what nobody asked for until it may measure, and measures on demand all the same', async t => {
    t.mock.timers.enable({ apis: ['setTimeout'] })
    let calm = true
    const { detector, outcomes } = rig(t, { eu: 60 }, { mayMeasure: () => calm })
    detector.start()
    await settle()
    assert.deepEqual(outcomes, ['first'])
    calm = false
    t.mock.timers.tick(3_600_000)
    for (let count = 0; count < 10; count++) {
      await settle()
      t.mock.timers.tick(30_000)
    }
    assert.deepEqual(outcomes, ['first'])
    await detector.detect()
    assert.deepEqual(outcomes, ['first', 'kept'])
    t.mock.timers.tick(3_600_000)
    await settle()
    calm = true
    t.mock.timers.tick(30_000)
    await settle()
    assert.deepEqual(outcomes, ['first', 'kept', 'kept'])
    calm = false
    t.mock.timers.tick(3_600_000)
    await detector.close()
    calm = true
    t.mock.timers.tick(100_000_000)
    await settle()
    assert.equal(outcomes.length, 3, 'no timer is left after the end')
  })

  test('a detection lasts its one timeout, however many nodes do not answer', async t => {
    t.mock.timers.enable({ apis: ['setTimeout'] })
    const nodes = [...Array.from({ length: 63 }, (_, n) => node(`hole${n}`, 'APAC')), node('eu', 'EU-WEST')]
    const { detector } = rig(t, {}, { nodes: () => nodes, handshake: async url => url === 'http://eu' ? 60 : await NEVER })
    const detecting = detector.detect()
    let ended = false
    void detecting.then(() => { ended = true })
    t.mock.timers.tick(1_999)
    await settle()
    assert.equal(ended, false)
    t.mock.timers.tick(1)
    const { latencies, nodes: measured } = await detecting
    assert.deepEqual([...latencies], [['EU-WEST', 60]])
    assert.equal(measured.filter(({ medianMs }) => medianMs === null).length, 63)
  })

  test('close ends the detection under way, which then says nothing, and there is none after it', async t => {
    let aborted = 0
    const { detector, outcomes } = rig(t, {}, {
      timeoutMs: 1_000_000,
      handshake: async (_url, signal) => await new Promise<number>((_resolve, reject) => {
        signal.addEventListener('abort', () => { aborted++; reject(new Error('ended')) }, { once: true })
      })
    })
    detector.start()
    const detecting = assert.rejects(detector.detect(), (error: unknown) => error instanceof RelayError && error.code === 'RELAY_ERR_STOPPING')
    await settle()
    await detector.close()
    await detecting
    assert.equal(aborted, NODES.length)
    assert.deepEqual([outcomes, detector.current], [[], ''])
    await assert.rejects(detector.detect(), { code: 'RELAY_ERR_STOPPING' })
    detector.setOverride(undefined)
    await detector.close()
  })
})
