import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import fc from 'fast-check'
import { MetricsText } from '../../../src/cli/status/metrics-text.ts'
import { readStatus, statusAlerts } from '../../../src/cli/status/status.ts'
import { statusText } from '../../../src/cli/status/status-text.ts'
import type { ReadPublic } from '../../../src/cli/ask-admin.ts'

const NOW = 1_800_000_000_000
const HEALTH = { status: 'ok', version: '1.2.3', uptime_seconds: 90_000, cache_size_bytes: 5 }
const READY = { ready: true, checks: { viewer: 'listening', cache: 'ok', upstream: 'ok', overload: 'normal' } }

const metrics = (served: number): string => `# HELP icn_relay_bytes_served_total Body bytes
icn_relay_bytes_served_total{transport="http"} ${served}
icn_relay_bytes_served_total{transport="websocket"} 0
icn_relay_upstream_bytes_total{node="http://a:9002"} 250000
icn_relay_cache_hits_total{tier="memory"} 90
icn_relay_cache_misses_total{collapsed="false"} 10
icn_relay_cache_size_bytes 5000000
icn_relay_cache_capacity_bytes 1e12
icn_relay_cache_entries{tier="disk"} 7
icn_relay_viewer_connections{transport="http"} 3
icn_relay_viewer_connections{transport="websocket"} 0
icn_relay_upstream_node_up{node="http://a:9002",region="NA-WEST"} 1
icn_relay_gateway_up 1
`

/** A relay that sends so many bytes between two looks, and another text of metrics besides. */
function relay (more: { readonly ready?: object, readonly metrics?: string } = {}): { read: ReadPublic, pause: () => Promise<void>, now: () => number } {
  let now = NOW
  let served = 1_000_000
  return {
    read: async path => {
      const text = path === '/health' ? JSON.stringify(HEALTH) : path === '/ready' ? JSON.stringify(more.ready ?? READY) : metrics(served) + (more.metrics ?? '')
      return { status: 200, text }
    },
    pause: async () => {
      now += 2_000
      served += 500_000
    },
    now: () => now
  }
}

suite('status', () => {
  test('tells what a relay is doing', async () => {
    const report = await readStatus(relay())
    assert.deepEqual([report.hitRatio, report.offloadRatio?.toFixed(3), report.bandwidth.servedBps, report.bandwidth.upstreamBps, report.cache.objects, report.alerts], [0.9, '0.833', 2_000_000, 0, 7, []])
    const text = statusText(report)
    assert.ok(statusText({ ...report, offloadRatio: -0.2 }).includes('hits         90.0 % of requests, super-nodes sent more than viewers got\n'))
    for (const line of ['relay        icn-relay 1.2.3, up 1 d 1 h', 'ready        yes (ok; viewer listening, cache ok, upstream ok, overload normal)', 'hits         90.0 % of requests, 83.3 % of bytes spared super-nodes', 'viewers      3 over http', 'super-nodes  http://a:9002 NA-WEST up', 'alerts       none']) assert.ok(text.split('\n').includes(line), `${line}\n${text}`)
  })

  test('names what wants to be looked at', async () => {
    const report = await readStatus(relay({
      ready: { ready: false, checks: { viewer: 'draining', cache: 'reconciling', upstream: 'down', overload: 'shedding' } },
      metrics: `icn_relay_certificate_not_after_timestamp_seconds{source="configured"} ${NOW / 1_000 + 3 * 86_400}\nicn_relay_upstream_node_up{node="http://b",region="APAC"} 0\nicn_relay_cache_problem{problem="full"} 1\nicn_relay_config_reload_success 0\nicn_relay_config_pending_keys 2\nicn_relay_audit_failures_total 1\nicn_relay_log_lines_dropped_total 4\n`
    }))
    assert.equal(report.ready, false)
    const said = report.alerts.map(({ level, says }) => `${level} ${says}`).join('\n')
    for (const words of ['warn the certificate of viewers ends in 2 days', 'fail super-nodes that are not up: http://b', 'fail the cache has a lasting problem: full', 'fail overload: shedding', 'warn draining', 'warn the configuration was refused', 'warn 2 keys', 'warn 1 records of the audit', 'warn 4 lines of the log']) assert.ok(said.includes(words), `${words}\n${said}`)
    assert.match(statusText(report), /alerts {7}WARN the certificate[^\n]*\n {13}FAIL /)
  })

  test('a certificate that the relay renews itself is an alert only when it has ended', () => {
    const found = (source: string, days: number): number => statusAlerts(new MetricsText(`icn_relay_certificate_not_after_timestamp_seconds{source="${source}"} ${NOW / 1_000 + days * 86_400}\n`), READY, NOW).length
    assert.deepEqual([found('self-signed', 3), found('self-signed', -1), found('configured', 20), found('configured', 13)], [0, 1, 0, 1])
  })

  test('what is no relay is named as such', async () => {
    const { pause, now } = relay()
    for (const text of ['', '<html>', 'null', '[]', '{}']) await assert.rejects(readStatus({ read: async () => ({ status: 200, text }), pause, now }), { code: 'RELAY_ERR_CONFIG', message: 'status: what answers is no relay' })
  })

  test('any text of metrics is read without an error, and values come back', () => {
    fc.assert(fc.property(fc.string(), text => { assert.equal(new MetricsText(text).sum('icn_relay_nothing'), 0) }))
    fc.assert(fc.property(fc.dictionary(fc.stringMatching(/^[a-z_]{1,8}$/), fc.string()), fc.double({ noNaN: true, noDefaultInfinity: true }), (labels, value) => {
      const shown = Object.entries(labels).map(([name, text]) => `${name}="${text.replace(/\\/g, '\\\\').replace(/\n/g, '\\n').replace(/"/g, '\\"')}"`).join(',')
      const read = new MetricsText(`a_metric{${shown}} ${value}\n`).of('a_metric')
      assert.deepEqual(read, [{ labels: { ...labels }, value: Number(String(value)) }])
    }))
  })
})
