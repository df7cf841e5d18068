import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { SessionConnection } from '../../../client/src/session-connection.ts'
import type { ClientSession } from '../../../client/src/session.ts'
import { w3cConnector } from '../../../client/src/w3c-session.ts'
import type { W3cWebTransport } from '../../../client/src/w3c-types.ts'
import { settle } from '../../support/viewer-rig.ts'

const never = new AbortController().signal
const HEAD = new TextEncoder().encode('HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\n')
const BODY = Uint8Array.of(1, 2, 3, 4)

interface Trace { readonly session: ClientSession, readonly calls: string[] }

/** A session whose streams answer with these chunks, null for FIN, and write down what is done to them. */
function traced (answer: ReadonlyArray<Uint8Array | null>): Trace {
  const calls: string[] = []
  const waiting = [...answer]
  const session: ClientSession = {
    closed: new Promise(() => {}),
    close: () => {},
    openStream: async () => ({
      write: async () => { calls.push('write') },
      end: async () => { calls.push('end') },
      reset: () => { calls.push('reset') },
      read: async () => {
        const next = waiting.shift()
        if (next === undefined) return await new Promise<never>(() => {})
        calls.push(next === null ? 'read end' : 'read')
        return next
      }
    })
  }
  return { session, calls }
}

suite('requests over a session', () => {
  test('FIN of the request is sent when the answer has been read, not with its head', async () => {
    const { session, calls } = traced([HEAD, BODY, null])
    const response = await new SessionConnection(session).request({ path: '/x', fields: [], signal: never })
    assert.deepEqual(calls, ['write', 'read'])
    assert.deepEqual(await response.read(), BODY)
    assert.equal(await response.read(), null)
    assert.deepEqual(calls, ['write', 'read', 'read', 'read end', 'end'])
  })

  test('an answer that has been read to its end is not given up afterwards: the relay would count it as cancelled', async () => {
    const { session, calls } = traced([HEAD, BODY, null])
    const response = await new SessionConnection(session).request({ path: '/x', fields: [], signal: never })
    while (await response.read() !== null);
    response.cancel()
    assert.equal(calls.at(-1), 'end')
    assert.ok(!calls.includes('reset'))
  })

  test('who cancels in the middle of an answer resets the stream and sends no FIN', async () => {
    const abort = new AbortController()
    for (const how of ['cancel', 'abort'] as const) {
      const { session, calls } = traced([HEAD, BODY])
      const response = await new SessionConnection(session).request({ path: '/x', fields: [], signal: abort.signal })
      await response.read()
      if (how === 'cancel') response.cancel()
      else abort.abort(new Error('seeked'))
      await settle()
      assert.deepEqual(calls, ['write', 'read', 'read', 'reset'], how)
    }
  })

  test('a browser stream that is given up aborts its writer, which FIN has not closed, and cancels its reader', async () => {
    const calls: string[] = []
    const answer = [HEAD, BODY]
    const Fake = class implements W3cWebTransport {
      readonly ready = Promise.resolve()
      readonly closed = new Promise<undefined>(() => {})
      readonly incomingUnidirectionalStreams = { getReader: () => ({ read: () => new Promise<never>(() => {}), cancel: async () => {} }) }
      close (): void {}
      async createBidirectionalStream (): ReturnType<W3cWebTransport['createBidirectionalStream']> {
        const writer = { write: async () => { calls.push('write') }, close: async () => { calls.push('close') }, abort: async () => { calls.push('abort') }, closed: new Promise(() => {}) }
        const reader = {
          read: async () => {
            const value = answer.shift()
            return value === undefined ? await new Promise<never>(() => {}) : { done: false, value }
          },
          cancel: async () => { calls.push('cancel') }
        }
        return { writable: { getWriter: () => writer }, readable: { getReader: () => reader } }
      }
    }
    const session = await w3cConnector(() => Fake)({ url: 'https://a/v1/viewer', certificateHashes: [], signal: never, onIncoming: () => {} })
    const response = await new SessionConnection(session).request({ path: '/x', fields: [], signal: never })
    response.cancel()
    await settle()
    assert.deepEqual(calls, ['write', 'abort', 'cancel'])
  })
})
