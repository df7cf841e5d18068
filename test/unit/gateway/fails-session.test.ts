import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { LibrarySession, LibraryStream } from '../../../src/gateway/transports/fails/library.ts'
import { FailsSession, RETIRED } from '../../../src/gateway/transports/fails/session.ts'
import { TransportError, type BidiStream } from '../../../src/protocol/transport-session.ts'

class FakeStream implements LibraryStream {
  declare jsobj: LibraryStream['jsobj']
  readonly calls: string[] = []
  startReading (): void { this.calls.push('startReading') }
  stopReading (): void { this.calls.push('stopReading') }
  drainReads (): void { this.calls.push('drainReads') }
  stopSending (code: number): void { this.calls.push(`stopSending ${code}`) }
  resetStream (code: number): void { this.calls.push(`resetStream ${code}`) }
  writeChunk (chunk: Uint8Array): void { this.calls.push(`write ${chunk.length}`); this.jsobj.onStreamWrite({ success: true }) }
  streamFinal (): void { this.calls.push('fin'); this.jsobj.onStreamNetworkFinish({ nettask: 'streamFinal' }) }
}

class FakeSession implements LibrarySession {
  declare jsobj: LibrarySession['jsobj']
  readonly closes: Array<{ code: number, reason: string }> = []
  orderBidiStream (): boolean { return true }
  orderUnidiStream (): boolean { return true }
  orderSessionStats (): void {}
  close (close: { code: number, reason: string }): void { this.closes.push(close) }
}

function start (): { native: FakeSession, session: FailsSession, open: () => FakeStream, streams: BidiStream[] } {
  const native = new FakeSession()
  const streams: BidiStream[] = []
  const session = new FailsSession(native, {
    id: 's',
    transport: 'websocket',
    request: { path: '/', authority: '', headers: {}, peer: { ip: '127.0.0.1', port: 1 } },
    maxStreams: 100_000,
    ready: ready => { ready.onStream = stream => { streams.push(stream) } }
  })
  native.jsobj.onReady({})
  const open = (): FakeStream => {
    const stream = new FakeStream()
    native.jsobj.onStream({ stream, incoming: true, bidirectional: true })
    return stream
  }
  return { native, session, open, streams }
}

test('streams that the peer never ends after a stop are bounded: the session is retired, requests in flight finish first', async () => {
  const { native, session, open, streams } = start()
  open()
  const inFlight = streams.pop()
  for (let index = 0; index < 4_096; index++) {
    assert.equal(session.lingering, index)
    open()
    const stream = streams.pop()
    stream?.cancel(0)
    await stream?.end()
  }
  assert.equal(native.closes.length, 0, 'a request is still in flight')
  await inFlight?.write(Buffer.from('rest of the answer'))
  await inFlight?.end()
  inFlight?.cancel(0)
  assert.deepEqual(native.closes, [RETIRED])
  assert.deepEqual(await session.closed, { ...RETIRED, clean: true })
  assert.equal(session.lingering, 0)
})

test('a stream that the peer ends after a stop lingers no longer', () => {
  const { session, open, streams } = start()
  const [first, second] = [open(), open()]
  for (const stream of streams) { stream.cancel(7); stream.reset(8) }
  assert.deepEqual([session.openStreams, session.lingering], [0, 2])
  first.jsobj.commitReadBuffer({ fin: true })
  second.jsobj.onStreamRecvSignal({ nettask: 'resetStream', code: 1 })
  assert.equal(session.lingering, 0)
  assert.deepEqual(first.calls, ['startReading', 'stopSending 7', 'drainReads', 'resetStream 8'])
})

test('unread bytes stop the reading, and reading them starts it again', async () => {
  const { open, streams } = start()
  const native = open()
  const [stream] = streams
  assert.deepEqual(native.jsobj.commitReadBuffer({ buffer: new Uint8Array(70_000), readBytes: 70_000 }), { stopReading: true })
  assert.deepEqual(native.calls, ['startReading', 'stopReading'])
  assert.equal((await stream?.read())?.length, 70_000)
  assert.deepEqual(native.calls, ['startReading', 'stopReading', 'startReading'])
})

test('signals of the library after both halves are over change nothing', async () => {
  const { open, streams } = start()
  const native = open()
  const [stream] = streams
  native.jsobj.commitReadBuffer({ fin: true })
  assert.equal(await stream?.read(), null)
  await stream?.end()
  native.jsobj.onStreamRecvSignal({ nettask: 'stopSending', code: 0 })
  native.jsobj.onStreamRecvSignal({ nettask: 'resetStream', code: 0 })
  assert.equal(stream?.stopped.aborted, false)
  assert.equal(await stream?.read(), null)
})

test('a stream nobody ordered, as when the peer uses an id of ours, is refused', () => {
  const { native, session } = start()
  const stream = new FakeStream()
  native.jsobj.onStream({ stream, incoming: false, bidirectional: true })
  assert.ok(stream.calls.includes('resetStream 0') && stream.calls.includes('stopSending 0'))
  assert.equal(session.openStreams, 0)
})

test('a reason is cut at 1024 bytes and never inside a character', async () => {
  const { native, session } = start()
  session.close(1, `x${'ü'.repeat(1_000)}`)
  const { reason } = await session.closed
  assert.equal(Buffer.byteLength(reason), 1_023)
  assert.equal(native.closes[0]?.reason, reason)
})

test('orders and writes of a session that ends reject with session-closed', async () => {
  const { native, session, open, streams } = start()
  open()
  const order = session.openUni()
  native.jsobj.onClose({ errorcode: 5, error: 'bye' })
  const closed = (error: unknown): boolean => error instanceof TransportError && error.kind === 'session-closed'
  await assert.rejects(order, closed)
  await assert.rejects(session.openBidi(), closed)
  await assert.rejects(streams[0]?.write(Buffer.of(1)) ?? Promise.resolve(), closed)
  assert.ok(streams[0]?.stopped.aborted)
  assert.deepEqual(await session.closed, { code: 5, reason: 'bye', clean: true })
})
