import assert from 'node:assert/strict'
import test from 'node:test'
import fc from 'fast-check'
import type { LiveSettings } from '../../../src/channel/live-settings.ts'
import { LiveRecord } from '../../../src/plugins/viewers/live-record.ts'
import { LIVE_SETTINGS } from '../../support/live-settings.ts'

const PLAIN = { noNullPrototype: true } as const

const change: fc.Arbitrary<Partial<LiveSettings>> = fc.oneof(
  fc.record({ region: fc.constantFrom('EU-WEST', 'APAC') }),
  fc.record({ tls: fc.constantFrom({ cert: 'a', key: 'a' }, { cert: 'b', key: 'b' }) }),
  fc.record({ overload: fc.record({ state: fc.constantFrom('normal', 'degraded', 'shedding'), targets: fc.array(fc.constantFrom('http://a', 'http://b')) }, PLAIN) }),
  fc.record({ drain: fc.option(fc.record({ deadlineMs: fc.nat(1_000), alternates: fc.array(fc.constantFrom('http://a')) }, PLAIN), { nil: undefined }) })
)

test('who was told the record and then every change knows the record, whenever it began to listen', () => {
  fc.assert(fc.property(fc.array(change), fc.array(change), (before, after) => {
    const live = new LiveRecord(LIVE_SETTINGS, { monotonic: () => 0 })
    for (const one of before) live.update(one)
    let known = live.current
    live.onUpdate(changed => { known = { ...known, ...changed } })
    for (const one of after) live.update(one)
    assert.deepEqual(known, live.current)
    assert.equal(live.draining, known.drain !== undefined)
  }))
})

test('what is known already is not told again; a drain begins anew, and its end is told once', () => {
  const live = new LiveRecord(LIVE_SETTINGS, { monotonic: () => 0 })
  const told: Partial<LiveSettings>[] = []
  live.onUpdate(changed => { told.push(changed) })
  live.update({ region: 'EU-WEST', tls: { cert: 'a', key: 'a' } })
  live.update({ region: 'APAC', tls: { cert: 'a', key: 'a' } })
  const drain = { deadlineMs: 5, alternates: [] }
  live.update({ drain })
  live.update({ drain })
  live.update({ drain: undefined })
  live.update({ drain: undefined })
  assert.deepEqual(told, [{ region: 'APAC' }, { drain }, { drain }, { drain: undefined }])
})

test('of a drain what is left is told to a gateway that begins later', () => {
  let now = 1_000
  const live = new LiveRecord(LIVE_SETTINGS, { monotonic: () => now })
  live.update({ drain: { deadlineMs: 300, alternates: ['http://a'] } })
  now += 100
  assert.deepEqual(live.current.drain, { deadlineMs: 200, alternates: ['http://a'] })
  now += 1_000
  assert.equal(live.current.drain?.deadlineMs, 0)
})
