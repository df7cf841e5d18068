import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { troublesOf } from '../../../dashboard/src/model/troubles.ts'
import { node, summary } from './summaries.ts'

const DAY = 86_400_000
const said = (...changed: Parameters<typeof summary>): string[] => troublesOf(summary(...changed), 1_000).map(({ level, text, detail = '' }) => `${level}: ${text}${detail === '' ? '' : ` (${detail})`}`)

suite('what an operator is told first', () => {
  test('nothing in peace', () => { assert.deepEqual(said(), []) })

  test('why the relay is not ready', () => {
    const { checks } = summary().readiness
    assert.match(said({ readiness: { ready: false, checks: { ...checks, viewer: 'draining' } } }).join(), /^warn: Draining/)
    assert.match(said({ readiness: { ready: false, checks: { ...checks, viewer: 'closed' } } }).join(), /^bad: The viewer listeners are closed/)
    assert.match(said({ readiness: { ready: true, checks: { ...checks, cache: 'full' } } }).join(), /^warn: The disk of the cache has no room/)
    assert.match(said({ readiness: { ready: true, checks: { ...checks, cache: 'hung' } } }).join(), /^bad: .*does not answer/)
    const shedding = said({ readiness: { ready: false, checks: { ...checks, overload: 'shedding' } }, overload: { state: 'shedding', since: 0, reason: 'event_loop_delay' } })
    assert.deepEqual(shedding, ['bad: Shedding: new sessions and misses are refused or sent elsewhere (by event_loop_delay, since 1 s)'])
    assert.match(said({ overload: { state: 'degraded', since: 0, reason: 'override' } }).join(), /^warn: Degraded: .* \(set by an operator/)
  })

  test('circuits that are open, by name, and a few when there are many', () => {
    assert.deepEqual(said({ superNodes: [node('a:1'), node('b:1', 'open', 5)] }), ['warn: Super-node b:1 (NA-WEST) is open: it failed too often and is asked last (5 failures since the last success)'])
    assert.match(said({ superNodes: [node('a:1', 'ejected')] })[0] ?? '', /^bad: None of 1 super-node is up/)
    const many = said({ superNodes: [node('up:1'), ...Array.from({ length: 50 }, (_, n) => node(`n${n}:1`, 'open'))] })
    assert.equal(many.length, 6)
    assert.match(many.at(-1) ?? '', /45 more super-nodes are not up/)
    assert.deepEqual(said({ superNodes: [node('a:1'), node('b:1', 'disabled')] }), [], 'as an operator wants it')
    assert.match(said({ superNodes: [] }).join(), /^bad: There is no super-node/)
  })

  test('gateway, certificate, reload, denylist', () => {
    assert.match(said({ gateway: { up: false, restarts: 3, rssBytes: 0 } }).join(), /^bad: The gateway does not listen.*\(3 restarts\)$/)
    assert.deepEqual(said({ gateway: null }), [])
    const certificate = (days: number, source: 'configured' | 'self-signed' = 'configured'): string => said({ certificate: { source, notAfter: 1_000 + days * DAY } }).join()
    assert.deepEqual([certificate(15), certificate(2, 'self-signed')], ['', ''])
    assert.match(certificate(10), /^warn: .* expires in 10 d/)
    assert.match(certificate(2), /^bad: /)
    assert.match(certificate(-1, 'self-signed'), /^bad: .* has expired/)
    assert.match(said({ config: { hash: '', reload: { success: false, at: 0, problem: 'limits.x: unknown key' }, restart: 2, overrides: 0 } }).join('; '), /^warn: The configuration was refused .*\(limits\.x: unknown key\); note: 2 keys have another value/)
    assert.match(said({ denylist: { entries: 0, problems: ['url: HTTP 500'] } }).join(), /^warn: A denylist .*\(url: HTTP 500\)/)
  })

  test('the worst first', () => {
    const levels = troublesOf(summary({ superNodes: [], config: { ...summary().config, restart: 1 }, denylist: { entries: 0, problems: ['x'] } }), 0).map(({ level }) => level)
    assert.deepEqual(levels, ['bad', 'warn', 'note'])
  })
})
