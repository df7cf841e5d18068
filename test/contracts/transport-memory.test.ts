import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { TransportSession } from '../../src/protocol/transport-session.ts'
import { connectMemory, memoryTransport } from '../support/memory-transport.ts'
import type { Timers } from '../../src/base/clock.ts'
import type { ListenerEvents } from '../../src/gateway/transports/viewer-transport.ts'
import { contractTls, viewerTransportContract } from './viewer-transport.ts'

const memory = memoryTransport()

viewerTransportContract('in-process pair', {
  transport: memory,
  transportName: 'memory',
  connect: target => connectMemory(target.listener, { path: target.path, headers: target.headers }),
  limits: { setTls: 'no TLS in process', limitStatus: 429 }
})

/** A clock that stands still until it is moved. */
class ManualTimers implements Timers {
  #now = 0
  readonly #due: Array<{ at: number, callback: () => void }> = []
  now (): number { return this.#now }
  after (ms: number, callback: () => void): () => void {
    const entry = { at: this.#now + ms, callback }
    this.#due.push(entry)
    return () => { const index = this.#due.indexOf(entry); if (index >= 0) this.#due.splice(index, 1) }
  }

  move (ms: number): void {
    this.#now += ms
    for (;;) {
      const index = this.#due.findIndex(entry => entry.at <= this.#now)
      if (index < 0) return
      this.#due.splice(index, 1)[0]?.callback()
    }
  }

  get pending (): number { return this.#due.length }
}

async function listen (timers: Timers): Promise<{ session: Promise<TransportSession>, dial: () => Promise<TransportSession> }> {
  let hand: (session: TransportSession) => void = () => {}
  const session = new Promise<TransportSession>(resolve => { hand = resolve })
  const events: ListenerEvents = { decide: () => ({ accept: true }), session: opened => { hand(opened) }, handshakeFailed () {}, log () {} }
  const listener = await memoryTransport({ timers, windowBytes: 1_000 }).listen({
    host: '', port: 0, tls: contractTls, path: '/s', maxSessions: 4, maxStreamsPerSession: 1, handshakeTimeoutMs: 1_000, idleTimeoutMs: 10_000
  }, events)
  return { session, dial: () => connectMemory(listener, { path: '/s' }) }
}

test('an idle session ends after the idle timeout on the injected clock, a busy one does not', async () => {
  const timers = new ManualTimers()
  const { session, dial } = await listen(timers)
  const client = await dial()
  const server = await session
  server.onStream = () => {}
  const stream = await client.openBidi()
  timers.move(9_000)
  await stream.write(Buffer.from('awake'))
  timers.move(9_000)
  assert.equal(server.stats().bytesReceived, 5)
  timers.move(1_000)
  assert.deepEqual(await server.closed, { code: 0, reason: 'idle timeout', clean: false })
  assert.deepEqual(await client.closed, { code: 0, reason: 'idle timeout', clean: false })
  await new Promise(resolve => { setImmediate(resolve) })
  assert.equal(timers.pending, 0)
})

test('openBidi without credit rejects after the credit timeout on the injected clock', async () => {
  const timers = new ManualTimers()
  const { dial } = await listen(timers)
  const client = await dial()
  await client.openBidi()
  const second = client.openBidi()
  timers.move(5_000)
  await assert.rejects(second, { kind: 'no-credit' })
})

test('a direction holds exactly its window', async () => {
  const { session, dial } = await listen(new ManualTimers())
  const client = await dial()
  const server = await session
  let writing: Promise<void> | undefined
  server.onStream = stream => { writing = stream.write(new Uint8Array(5_000)) }
  const stream = await client.openBidi()
  await new Promise(resolve => { setImmediate(resolve) })
  assert.equal(server.stats().bytesSent, 1_000)
  let read = 0
  while (read < 5_000) read += (await stream.read())?.length ?? 0
  await writing
  assert.equal(server.stats().bytesSent, 5_000)
})
