import assert from 'node:assert/strict'
import test, { type TestContext } from 'node:test'
import type { ListeningInfo } from '../../../src/channel/from-gateway.ts'
import type { TlsMaterial } from '../../../src/channel/tls-material.ts'
import type { OpenedTransport } from '../../../src/gateway/transports/open.ts'
import { perTransport, type SessionTransport } from '../../../src/protocol/session-transports.ts'
import { Listeners } from '../../../src/gateway/listeners.ts'
import type { TransportListener } from '../../../src/gateway/transports/viewer-transport.ts'

const OLD: TlsMaterial = { cert: 'old', key: 'old' }
const NEW: TlsMaterial = { cert: 'new', key: 'new' }

class FakeListener implements TransportListener {
  readonly description = 'fake'
  readonly port: number
  tls: TlsMaterial
  closed = 0
  refuses = false

  constructor (port: number, tls: TlsMaterial) {
    this.port = port
    this.tls = tls
  }

  setTls (tls: TlsMaterial): void {
    if (this.refuses) throw new Error('bad certificate')
    this.tls = tls
  }

  sizes (): Record<string, number> { return { sessions: this.port } }
  async close (): Promise<void> { this.closed++ }
}

/** Takes a certificate when it is made, and never again. */
class FixedListener implements TransportListener {
  readonly description = 'fixed'
  readonly port = 1
  readonly tls: TlsMaterial
  readonly #close: () => Promise<void>

  constructor (tls: TlsMaterial, close: () => Promise<void>) {
    this.tls = tls
    this.#close = close
  }

  checkTls ({ cert }: TlsMaterial): void { if (cert === 'bad') throw new Error('bad certificate') }
  sizes (): Record<string, number> { return {} }
  async close (): Promise<void> { await this.#close() }
}

interface Rig { readonly transports: Listeners, readonly opened: Record<SessionTransport, number>, readonly listeners: FakeListener[], readonly told: ListeningInfo[], readonly refused: SessionTransport[] }

/** HTTP/3 works from its `works`-th try on; `retry` says whether the failures before look passing. */
function rig (t: TestContext, works: number, retry: boolean, gate: Promise<void> = Promise.resolve()): Rig {
  const opened = perTransport(() => 0)
  const listeners: FakeListener[] = []
  const told: ListeningInfo[] = []
  const refused: SessionTransport[] = []
  const open = async (name: SessionTransport, tls: TlsMaterial): Promise<OpenedTransport> => {
    await gate
    opened[name]++
    if (name === 'webtransport' && opened.webtransport < works) return { listener: undefined, note: 'no HTTP/3: EADDRINUSE', retry }
    const listener = new FakeListener(name === 'webtransport' ? 1 : 2, tls)
    listeners.push(listener)
    return { listener, note: `${name} is open`, retry: false }
  }
  const transports = new Listeners({ open, tls: OLD, changed: info => { told.push(info) }, certificateRefused: name => { refused.push(name) }, empty: async () => {}, retryMs: 1_000 })
  t.after(async () => { await transports.close() })
  return { transports, opened, listeners, told, refused }
}

const settle = async (): Promise<void> => { for (let turn = 0; turn < 5; turn++) await new Promise(resolve => { setImmediate(resolve) }) }

test('a transport that is blocked does not keep the other closed, is tried again until it opens, and every change is told once', async t => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const { transports, opened, told } = rig(t, 3, true)
  await transports.open()
  assert.deepEqual(told, [{ notes: ['no HTTP/3: EADDRINUSE', 'websocket is open'], open: { websocket: { port: 2, description: 'fake' } } }])
  t.mock.timers.tick(1_000)
  await settle()
  assert.deepEqual([opened.webtransport, told.length], [2, 1])
  t.mock.timers.tick(1_000)
  await settle()
  assert.deepEqual(told[1], { notes: ['webtransport is open', 'websocket is open'], open: { webtransport: { port: 1, description: 'fake' }, websocket: { port: 2, description: 'fake' } } })
  t.mock.timers.tick(60_000)
  await settle()
  assert.deepEqual([opened, told.length], [{ webtransport: 3, websocket: 1 }, 2])
  assert.deepEqual(transports.sizes(), { 'webtransport.sessions': 1, 'websocket.sessions': 2 })
})

test('what no time will cure is not tried again', async t => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const { transports, opened } = rig(t, 99, false)
  await transports.open()
  t.mock.timers.tick(60_000)
  await settle()
  assert.deepEqual(opened, { webtransport: 1, websocket: 1 })
})

test('a new certificate reaches every transport, also one that is being opened; one that refuses it is named and the other gets it', async t => {
  let go = (): void => {}
  const { transports, listeners, refused } = rig(t, 1, true, new Promise(resolve => { go = resolve }))
  const opening = transports.open()
  transports.setTls(NEW)
  go()
  await opening
  assert.deepEqual(listeners.map(({ tls }) => tls), [NEW, NEW])
  for (const listener of listeners) if (listener.port === 1) listener.refuses = true
  transports.setTls(OLD)
  assert.deepEqual(refused, ['webtransport'])
  assert.deepEqual(listeners.map(({ tls }) => tls), [NEW, OLD])
})

test('closing ends what is open, what is being opened, and the tries', async t => {
  let go = (): void => {}
  const { transports, listeners, told } = rig(t, 1, true, new Promise(resolve => { go = resolve }))
  const opening = transports.open()
  await transports.close()
  go()
  await opening
  assert.ok(listeners.every(({ closed }) => closed > 0))
  assert.deepEqual(told, [])
})

test('a transport that takes a certificate only when it opens is emptied and opened anew; meanwhile it is not offered, and a port that is slow to come free is tried again', async t => {
  t.mock.timers.enable({ apis: ['setTimeout'] })
  const steps: string[] = []
  const told: ListeningInfo[] = []
  const refused: SessionTransport[] = []
  let empty = (): void => {}
  let blocked = 2
  const fixed: FixedListener[] = []
  const transports = new Listeners({
    tls: OLD,
    open: async (name, tls) => {
      if (name === 'websocket') return { listener: new FakeListener(2, tls), note: 'websocket is open', retry: false }
      if (fixed.length > 0 && blocked-- > 0) return { listener: undefined, note: 'no HTTP/3: EADDRINUSE', retry: true }
      fixed.push(new FixedListener(tls, async () => { steps.push('closed') }))
      return { listener: fixed.at(-1), note: 'webtransport is open', retry: false }
    },
    changed: info => { told.push(info) },
    certificateRefused: name => { refused.push(name) },
    empty: async name => {
      steps.push(`empty ${name}`)
      await new Promise<void>(resolve => { empty = resolve })
    }
  })
  t.after(async () => { await transports.close() })
  await transports.open()
  transports.setTls({ cert: 'bad', key: 'bad' })
  assert.deepEqual([refused, steps, transports.renewing('webtransport')], [['webtransport'], [], false])
  transports.setTls(NEW)
  // A second one while the first is under way is the one that counts.
  const newest = { cert: 'newest', key: 'newest' }
  transports.setTls(newest)
  await settle()
  assert.deepEqual([steps, transports.renewing('webtransport'), transports.renewing('websocket')], [['empty webtransport'], true, false])
  assert.equal(told.at(-1)?.open.webtransport, undefined)
  assert.notEqual(told.at(-1)?.open.websocket, undefined)
  empty()
  for (let turn = 0; turn < 3; turn++) {
    await settle()
    t.mock.timers.tick(250)
  }
  await settle()
  assert.deepEqual(steps, ['empty webtransport', 'closed'])
  assert.deepEqual(fixed.map(({ tls }) => tls), [OLD, newest])
  assert.equal(transports.renewing('webtransport'), false)
  assert.equal(told.at(-1)?.open.webtransport?.port, 1)
})
