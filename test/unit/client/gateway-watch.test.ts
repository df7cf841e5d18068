import assert from 'node:assert/strict'
import test from 'node:test'
import { GatewayWatch } from '../../../client/src/gateway-watch.ts'
import { PooledSession } from '../../../client/src/pooled-session.ts'
import { virtualTimers } from '../../fakes/timers.ts'

function rig (gateways: readonly (string | undefined)[]) {
  const timers = virtualTimers()
  const connection = { request: async () => await Promise.reject(new Error('unused')), closed: new Promise<string>(() => {}), close: () => {} }
  const sessions = gateways.map(gateway => new PooledSession(connection, { transport: 'webtransport', relayUrl: 'http://relay', region: undefined, failures: [] }, timers.now(), gateway))
  const asked: number[] = []
  const gone: PooledSession[] = []
  const answer: { gateway: string | undefined } = { gateway: 'one' }
  const watch = new GatewayWatch({
    platform: { now: () => timers.now(), after: (ms, callback) => timers.after(ms, callback) },
    sessions: () => sessions,
    ask: async () => { asked.push(timers.now()); return answer.gateway },
    gone: session => {
      gone.push(session)
      sessions.splice(sessions.indexOf(session), 1)
    }
  })
  const request = (session: PooledSession | undefined): void => {
    assert.ok(session)
    session.inFlight++
    watch.asked(session)
  }
  return { timers, sessions, asked, gone, answer, watch, request }
}

test('nobody is asked while answers come, and nothing is waited for when nothing is under way', async () => {
  const { timers, sessions: [session], asked, request } = rig(['one'])
  request(session)
  assert.ok(session)
  for (let time = 0; time < 10; time++) {
    await timers.pass(900)
    session.heardAt = timers.now()
  }
  session.inFlight--
  await timers.pass(5_000)
  assert.deepEqual([asked, timers.waiting], [[], 0])
})

test('a silent session is asked about once a second; it goes when its process has gone, with those of the same process', async () => {
  const { timers, sessions, asked, gone, answer, request } = rig(['one', 'one', undefined])
  const [first, second] = sessions
  request(first)
  await timers.pass(3_500)
  assert.deepEqual([asked.length, gone.length], [3, 0])
  // While it is being started again nothing can be told.
  answer.gateway = undefined
  await timers.pass(1_000)
  assert.deepEqual([asked.length, gone.length], [4, 0])
  answer.gateway = 'two'
  await timers.pass(1_000)
  assert.deepEqual(gone, [first, second])
  assert.equal(sessions.length, 1)
})

test('a transport without a process of its own, such as HTTP, is not watched', async () => {
  const { timers, sessions: [session], asked, request } = rig([undefined])
  request(session)
  await timers.pass(10_000)
  assert.deepEqual([asked, timers.waiting], [[], 0])
})
