import assert from 'node:assert/strict'
import test from 'node:test'
import { w3cConnector } from '../../../client/src/w3c-session.ts'
import type { W3cWebTransport } from '../../../client/src/w3c-types.ts'

test('a session is closed once, however many find out that it is over, and not at all after its end', async () => {
  const closes: string[] = []
  let end = (): void => {}
  class Transport implements W3cWebTransport {
    readonly ready = Promise.resolve()
    readonly closed = new Promise<undefined>(resolve => { end = () => { resolve(undefined) } })
    readonly incomingUnidirectionalStreams = { getReader: () => ({ read: async () => await new Promise<never>(() => {}), cancel: async () => {} }) }
    async createBidirectionalStream (): Promise<never> { return await Promise.reject(new Error('unused')) }
    close (): void { closes.push('close') }
  }
  const connect = async (): ReturnType<ReturnType<typeof w3cConnector>> => await w3cConnector(() => Transport)({ url: 'https://relay', certificateHashes: [], signal: new AbortController().signal, onIncoming: () => {} })
  const session = await connect()
  for (let time = 0; time < 3; time++) session.close()
  assert.deepEqual(closes, ['close'])
  const ended = await connect()
  end()
  await ended.closed
  ended.close()
  assert.deepEqual(closes, ['close'])
})
