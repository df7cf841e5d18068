import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { JOIN_MS, P2pDuties, RENEW_MS, RETRY_MS, type DutifulNode } from '../../../../src/plugins/p2p/p2p-duties.ts'
import type { P2pReport } from '../../../../src/plugins/p2p/p2p-messages.ts'
import type { HolderRecord } from '../../../../src/protocol/holder-record.ts'
import { virtualTimers } from '../../../fakes/timers.ts'

const RECORD: HolderRecord = { cid: 'QmA', issuedAt: 1, expiresAt: undefined, holders: [{ url: 'http://h.example', region: 'APAC' }], signature: undefined }

/** What was set off gets to run to its end. */
async function settle (): Promise<void> {
  for (let n = 0; n < 5; n++) await new Promise(resolve => { setImmediate(resolve) })
}

function setup (told = 1) {
  const reports: P2pReport[] = []
  const calls: string[] = []
  const timers = virtualTimers()
  const state = { told, missed: new Map<string, string>(), fails: false }
  const node: DutifulNode = {
    peerId: 'me',
    addresses: ['/ip4/127.0.0.1/tcp/1'],
    peers: [{ id: 'you', address: '/ip4/127.0.0.1/tcp/2' }],
    join: async () => {
      calls.push('join')
      return state.missed
    },
    async * records (cid, signal) {
      calls.push(`records ${cid}`)
      if (state.fails) throw new Error('nobody')
      yield RECORD
      if (cid === 'QmSlow') await new Promise((_resolve, reject) => { signal.addEventListener('abort', () => { reject(new Error('aborted')) }) })
    },
    provide: async text => {
      calls.push(`provide ${text}`)
      return state.told
    },
    unprovide: async text => { calls.push(`unprovide ${text}`) },
    stop: async () => { calls.push('stop') }
  }
  const duties = new P2pDuties({ node, report: what => { reports.push(what) }, timers })
  return { duties, node, reports, calls, timers, state }
}

suite('what the thread of libp2p does', () => {
  test('it stays joined, and tells of a peer that is out of reach once', async () => {
    const { duties, reports, calls, timers, state } = setup()
    state.missed = new Map([['/ip4/192.0.2.1/tcp/1/p2p/x', 'refused']])
    const { close } = duties.start()
    await settle()
    await timers.pass(JOIN_MS)
    await settle()
    assert.deepEqual(calls, ['join', 'join'])
    assert.deepEqual(reports.map(report => report.is === 'log' ? report.message : report.is), ['bootstrap peer is out of reach'])
    await close()
    assert.equal(timers.waiting, 0)
  })

  test('it advertises a text again and again, sooner while nobody takes it, and one after the other', async () => {
    const { duties, calls, timers, state } = setup(0)
    duties.take({ do: 'advertise', text: 'relay:APAC' })
    await settle()
    state.told = 2
    await timers.pass(RETRY_MS)
    await settle()
    await timers.pass(RENEW_MS)
    await settle()
    assert.deepEqual(calls, ['provide relay:APAC', 'provide relay:APAC', 'provide relay:APAC'])
    duties.take({ do: 'advertise', text: 'relay:APAC' })
    duties.take({ do: 'advertise', text: 'relay:MENA' })
    await settle()
    assert.deepEqual(calls.slice(3), ['unprovide relay:APAC', 'provide relay:MENA'])
    duties.take({ do: 'advertise', text: undefined })
    await settle()
    await timers.pass(2 * RENEW_MS)
    assert.deepEqual(calls.slice(5), ['unprovide relay:MENA'])
  })

  test('news are gathered', async () => {
    const { duties, reports, timers } = setup()
    for (let n = 0; n < 10; n++) duties.changed()
    await timers.pass(1_000)
    assert.deepEqual(reports, [{ is: 'state', state: { peerId: 'me', addresses: ['/ip4/127.0.0.1/tcp/1'], peers: [{ id: 'you', address: '/ip4/127.0.0.1/tcp/2' }], connected: 1, advertised: undefined } }])
  })

  test('a lookup tells what it finds and how it ends; an error of libp2p is an answer; one that is cancelled ends', async () => {
    const { duties, reports, state } = setup()
    const known = { holders: RECORD.holders, issuedAt: 1, expiresAt: undefined }
    duties.take({ do: 'find', id: 1, cid: 'QmA' })
    await settle()
    assert.deepEqual(reports, [{ is: 'found', id: 1, known }, { is: 'ended', id: 1, error: undefined }])
    duties.take({ do: 'find', id: 2, cid: 'QmSlow' })
    await settle()
    duties.take({ do: 'cancel', id: 2 })
    await settle()
    assert.deepEqual(reports.slice(2), [{ is: 'found', id: 2, known }, { is: 'ended', id: 2, error: 'aborted' }])
    state.fails = true
    duties.take({ do: 'find', id: 3, cid: 'QmA' })
    await settle()
    assert.deepEqual(reports.at(-1), { is: 'ended', id: 3, error: 'nobody' })
    assert.equal(duties.lookups, 0)
  })

  test('closed, it ends lookups, takes no orders and leaves no timer', async () => {
    const { duties, calls, timers } = setup()
    const { close } = duties.start()
    duties.take({ do: 'find', id: 1, cid: 'QmSlow' })
    duties.changed()
    await settle()
    await close()
    await settle()
    assert.equal(duties.lookups, 0)
    duties.take({ do: 'find', id: 2, cid: 'QmA' })
    duties.changed()
    assert.deepEqual(calls, ['join', 'records QmSlow', 'stop'])
    assert.equal(timers.waiting, 0)
  })
})
