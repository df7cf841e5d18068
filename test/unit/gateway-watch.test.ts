import assert from 'node:assert/strict'
import test from 'node:test'
import { GatewayWatch } from '../../client/src/gateway-watch.ts'
import { Lane } from '../../client/src/lane.ts'
import { virtualTimers } from '../fakes/timers.ts'

function rig (gateways: readonly (string | undefined)[]) {
  const timers = virtualTimers()
  const road = { request: async () => await Promise.reject(new Error('unused')), closed: new Promise<string>(() => {}), close: () => {} }
  const lanes = gateways.map(gateway => new Lane(road, { transport: 'webtransport', relayUrl: 'http://relay', region: undefined, failures: [] }, timers.now(), gateway))
  const asked: number[] = []
  const gone: Lane[] = []
  const answer: { gateway: string | undefined } = { gateway: 'one' }
  const watch = new GatewayWatch({
    platform: { now: () => timers.now(), after: (ms, callback) => timers.after(ms, callback) },
    lanes: () => lanes,
    ask: async () => { asked.push(timers.now()); return answer.gateway },
    gone: lane => {
      gone.push(lane)
      lanes.splice(lanes.indexOf(lane), 1)
    }
  })
  const request = (lane: Lane | undefined): void => {
    assert.ok(lane)
    lane.inFlight++
    watch.asked(lane)
  }
  return { timers, lanes, asked, gone, answer, watch, request }
}

test('nobody is asked while answers come, and nothing is waited for when nothing is under way', async () => {
  const { timers, lanes: [lane], asked, watch, request } = rig(['one'])
  request(lane)
  assert.ok(lane)
  for (let time = 0; time < 10; time++) {
    await timers.pass(900)
    watch.heard(lane)
  }
  lane.inFlight--
  await timers.pass(5_000)
  assert.deepEqual([asked, timers.waiting], [[], 0])
})

test('a silent session is asked about once a second; it goes when its process has gone, with those of the same process', async () => {
  const { timers, lanes, asked, gone, answer, request } = rig(['one', 'one', undefined])
  const [first, second] = lanes
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
  assert.equal(lanes.length, 1)
})

test('a transport without a process of its own, such as HTTP, is not watched', async () => {
  const { timers, lanes: [lane], asked, request } = rig([undefined])
  request(lane)
  await timers.pass(10_000)
  assert.deepEqual([asked, timers.waiting], [[], 0])
})
