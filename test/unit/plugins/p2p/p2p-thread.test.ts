import assert from 'node:assert/strict'
import { EventEmitter } from 'node:events'
import { suite, test } from 'node:test'
import type { KnownHolders, P2pOrder, P2pReport } from '../../../../src/plugins/p2p/p2p-messages.ts'
import { MAX_RESTART_MS, P2pThread, RESTART_MS, type Thread } from '../../../../src/plugins/p2p/p2p-thread.ts'
import { virtualTimers, type VirtualTimers } from '../../../fakes/timers.ts'

const NEVER = new AbortController().signal
const KNOWN: KnownHolders = { holders: [{ url: 'http://h.example', region: 'APAC' }], issuedAt: 1, expiresAt: undefined }

class FakeThread extends EventEmitter implements Thread {
  readonly orders: P2pOrder[] = []
  terminated = false

  postMessage (order: P2pOrder): void {
    this.orders.push(order)
    if (order.do === 'close') this.emit('exit', 0)
  }

  report (report: P2pReport): void { this.emit('message', report) }

  up (connected = 1): void {
    this.report({ is: 'ready' })
    this.report({ is: 'state', state: { peerId: 'me', addresses: [], peers: [], connected, advertised: undefined } })
  }

  async terminate (): Promise<void> { this.terminated = true }
  unref (): void {}
}

interface Rig { readonly p2p: P2pThread, readonly threads: FakeThread[], readonly timers: VirtualTimers, readonly told: string[], readonly latest: () => FakeThread }

function setup (): Rig {
  const threads: FakeThread[] = []
  const told: string[] = []
  const timers = virtualTimers()
  const p2p = new P2pThread({
    start: () => {
      const thread = new FakeThread()
      threads.push(thread)
      return thread
    },
    timers,
    observer: {
      refused: (cid, fault) => { told.push(`${cid} ${fault}`) },
      restarted: () => { told.push('restarted') }
    },
    log: () => {}
  })
  const latest = (): FakeThread => threads.at(-1) ?? assert.fail('no thread was started')
  return { p2p, threads, timers, told, latest }
}

async function started (rig: Rig, connected = 1): Promise<FakeThread> {
  const start = rig.p2p.start()
  const thread = rig.latest()
  thread.up(connected)
  await start
  return thread
}

suite('the thread of libp2p', () => {
  test('what it cannot do ends the start, with its code', async () => {
    for (const code of ['RELAY_ERR_CONFIG', 'RELAY_ERR_LISTEN'] as const) {
      const rig = setup()
      const start = rig.p2p.start()
      rig.latest().report({ is: 'unfit', code, detail: 'this and that' })
      await assert.rejects(start, { code, message: 'this and that' })
      assert.ok(rig.latest().terminated)
      assert.equal(rig.timers.waiting, 0)
    }
    const rig = setup()
    const start = rig.p2p.start()
    rig.latest().emit('error', new Error('out of memory'))
    await assert.rejects(start, { code: 'RELAY_ERR_INTERNAL' })
    assert.equal(rig.threads.length, 1, 'not started again')
  })

  test('a lookup has what was found, and how it ended', async () => {
    const rig = setup()
    const thread = await started(rig)
    const found: KnownHolders[] = []
    const [first, second, third] = ['QmA', 'QmB', 'QmC'].map(async cid => await rig.p2p.ask(cid, NEVER, known => { found.push(known) }))
    assert.deepEqual(thread.orders, [{ do: 'find', id: 1, cid: 'QmA' }, { do: 'find', id: 2, cid: 'QmB' }, { do: 'find', id: 3, cid: 'QmC' }])
    thread.report({ is: 'refused', cid: 'QmB', fault: 'publisher', detail: '' })
    thread.report({ is: 'found', id: 1, known: KNOWN })
    thread.report({ is: 'ended', id: 1, error: undefined })
    thread.report({ is: 'ended', id: 2, error: 'no more peers' })
    thread.report({ is: 'ended', id: 3, error: 'no more peers' })
    assert.deepEqual([await first, await second, await third], ['asked', 'refused', 'failed'])
    assert.deepEqual(found, [KNOWN])
    assert.deepEqual(rig.told, ['QmB publisher'])
    thread.report({ is: 'found', id: 1, known: KNOWN })
    assert.equal(found.length, 1, 'too late')
  })

  test('with nobody connected a lookup fails immediately; one that is given up is cancelled', async () => {
    const rig = setup()
    const thread = await started(rig, 0)
    assert.equal(await rig.p2p.ask('QmA', NEVER, () => {}), 'failed')
    assert.deepEqual(thread.orders, [])
    thread.up()
    const abort = new AbortController()
    const asked = rig.p2p.ask('QmA', abort.signal, () => {})
    abort.abort()
    assert.equal(await asked, 'failed')
    assert.deepEqual(thread.orders.at(-1), { do: 'cancel', id: 1 })
  })

  test('one that ends by itself fails its lookups, is started again after a pause that grows, and is told what to advertise', async () => {
    const rig = setup()
    rig.p2p.advertise('relay:APAC')
    const first = await started(rig)
    assert.deepEqual(first.orders, [{ do: 'advertise', text: 'relay:APAC' }])
    const asked = rig.p2p.ask('QmA', NEVER, () => {})
    first.emit('error', new Error('unhandled'))
    first.emit('exit', 1)
    assert.equal(await asked, 'failed')
    assert.equal(rig.p2p.state, undefined)
    assert.equal(await rig.p2p.ask('QmA', NEVER, () => {}), 'failed')
    await rig.timers.pass(RESTART_MS)
    assert.equal(rig.threads.length, 2)
    rig.latest().up()
    await rig.timers.pass(0)
    await new Promise(resolve => { setImmediate(resolve) })
    assert.deepEqual(rig.latest().orders, [{ do: 'advertise', text: 'relay:APAC' }])
    assert.deepEqual(rig.told, ['restarted'])
    rig.latest().emit('exit', 1)
    await rig.timers.pass(2 * RESTART_MS - 1)
    assert.equal(rig.threads.length, 2)
    await rig.timers.pass(1)
    assert.equal(rig.threads.length, 3)
    rig.latest().up()
    await new Promise(resolve => { setImmediate(resolve) })
    await rig.timers.pass(MAX_RESTART_MS)
    rig.latest().emit('exit', 1)
    await rig.timers.pass(RESTART_MS)
    assert.equal(rig.threads.length, 4, 'one that lasted begins with the shortest pause')
  })

  test('closed, it says goodbye, fails what is under way and starts nothing', async () => {
    const rig = setup()
    const thread = await started(rig)
    const asked = rig.p2p.ask('QmA', NEVER, () => {})
    await rig.p2p.close()
    assert.equal(await asked, 'failed')
    assert.deepEqual(thread.orders.at(-1), { do: 'close' })
    assert.ok(thread.terminated)
    await rig.timers.pass(MAX_RESTART_MS)
    assert.equal(rig.threads.length, 1)
    assert.equal(rig.timers.waiting, 0)
    await rig.p2p.close()
  })

  test('closed while it waits to be started again, it is not', async () => {
    const rig = setup()
    ;(await started(rig)).emit('exit', 1)
    await rig.p2p.close()
    assert.equal(rig.timers.waiting, 0)
  })
})
