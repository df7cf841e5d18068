import assert from 'node:assert/strict'
import { setImmediate as settled } from 'node:timers/promises'
import { test } from 'node:test'
import { QuinnSession } from '../../../src/quinn/session.ts'
import type { BidiStream, SessionClose } from '../../../src/protocol/transport-session.ts'
import { QuinnConnection, type ViewerEnd } from '../../fakes/quinn-connection.ts'
import { virtualTimers, type VirtualTimers } from '../../fakes/timers.ts'

/** Chromium's. */
const WINDOW = 15 * 1024 * 1024
const CHUNK = Buffer.alloc(256 * 1024)

interface Rig {
  readonly timers: VirtualTimers
  readonly session: QuinnSession
  /** A stream of the viewer, on both sides. */
  readonly open: () => Promise<{ viewer: ViewerEnd, stream: BidiStream }>
  /** How the session ended, if it has. */
  readonly end: () => SessionClose | undefined
}

function start (): Rig {
  const timers = virtualTimers()
  const connection = new QuinnConnection(WINDOW)
  const session = new QuinnSession(connection.session, { id: 'test', request: { path: '/', authority: '', headers: {}, peer: undefined }, maxStreams: 100, timers })
  let take: (stream: BidiStream) => void = () => {}
  session.onStream = stream => { take(stream) }
  session.start()
  let end: SessionClose | undefined
  session.closed.then(close => { end = close }, () => {})
  return {
    timers,
    session,
    end: () => end,
    open: async () => {
      const accepted = new Promise<BidiStream>(resolve => { take = resolve })
      const viewer = connection.open()
      return { viewer, stream: await accepted }
    }
  }
}

/** Writes without end, and resets as soon as the viewer is known to have cancelled: what the gateway does. */
function serve (stream: BidiStream): void {
  const giveUp = (): void => {
    stream.reset(0)
    stream.cancel(0)
  }
  const send = async (): Promise<never> => { for (;;) await stream.write(CHUNK) }
  send().catch(giveUp)
  stream.read().catch(giveUp)
}

test('streams cancelled while the credit of the connection is used up are reset, and the next answer leaves', async () => {
  const { open, timers, session, end } = start()
  const cancelled: ViewerEnd[] = []
  for (let index = 0; index < 10; index++) {
    const { viewer, stream } = await open()
    serve(stream)
    cancelled.push(viewer)
  }
  await settled()
  assert.equal(cancelled.reduce((sum, { written }) => sum + written, 0), WINDOW)
  for (const viewer of cancelled) viewer.cancel(true)
  const { stream } = await open()
  await stream.write(CHUNK)
  await stream.end()
  await settled()
  assert.deepEqual(cancelled.map(({ wasReset }) => wasReset), cancelled.map(() => true))
  assert.equal(session.lingering, 0)
  await timers.pass(60_000)
  assert.equal(end(), undefined)
})

test('a session in which cancelled streams cannot be reset and nothing else is sent ends, and one that is only slow does not', async () => {
  const { open, timers, end } = start()
  const { viewer, stream } = await open()
  serve(stream)
  await settled()
  assert.equal(viewer.written, WINDOW)
  await timers.pass(60_000)
  assert.equal(end(), undefined, 'the viewer may read later')
  viewer.cancel(true)
  await settled()
  assert.equal(viewer.wasReset, false)
  await timers.pass(9_999)
  assert.equal(end(), undefined)
  await timers.pass(1)
  assert.deepEqual(end(), { code: 0, reason: 'cancelled streams cannot be reset', clean: true })
  assert.equal(timers.waiting, 0)
})
