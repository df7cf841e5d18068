/** The handshake and request limits over real sessions: relay, gateway process, both roads. */
import assert from 'node:assert/strict'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { connect as connectTcp, type Socket } from 'node:net'
import test, { type TestContext } from 'node:test'
import { request } from 'undici'
import { startSuperNode } from '../../demo/super-node/server.ts'
import { connectHttp3 } from '../../src/gateway/transports/http3/client.ts'
import type { TransportSession } from '../../src/gateway/transports/viewer-transport.ts'
import { readAll } from '../support/http3-setup.ts'
import { metric, until } from '../support/http.ts'
import { initialPackets } from '../support/raw-quic.ts'
import { startRelay, type RunningRelay } from '../support/relay.ts'

const LIMIT = { timeout: 120_000 }
const SHARD = '/shards/syn-1000-limits/shard_0.bin'

class Rig {
  readonly #t: TestContext
  readonly running: RunningRelay

  private constructor (t: TestContext, running: RunningRelay) {
    this.#t = t
    this.running = running
  }

  static async start (t: TestContext, limits: Record<string, number>): Promise<Rig> {
    const origin = await startSuperNode({ port: 0 })
    t.after(async () => { await origin.close() })
    const settings = { limits, transport: { engine: 'bundled', heartbeat_ms: 50 }, admin: { requests_per_minute: 100_000 } }
    return new Rig(t, await startRelay(t, [{ url: origin.url, region: origin.region }], settings))
  }

  get ports (): { http3: number, websocket: number } {
    const { http3, websocket } = this.running.relay.admin.viewers.listening() ?? {}
    return { http3: http3?.port ?? 0, websocket: websocket?.port ?? 0 }
  }

  async connect (): Promise<TransportSession> {
    const certificateHashes = this.running.relay.admin.certificates.hashes().map(({ algorithm, value }) => ({ algorithm, value: Buffer.from(value, 'base64') }))
    const session = await connectHttp3(`https://127.0.0.1:${this.ports.http3}/v1/viewer`, { certificateHashes, timeoutMs: 20_000 })
    this.#t.after(() => { session.close() })
    return session
  }

  /** A TCP connection to the WebSocket road; whether it was reset on accept shows later. */
  async knock (localAddress = '127.0.0.1'): Promise<Socket> {
    const socket = connectTcp({ host: '127.0.0.1', port: this.ports.websocket, localAddress })
    socket.on('error', () => {})
    this.#t.after(() => { socket.destroy() })
    await new Promise<void>(resolve => { socket.once('connect', () => { resolve() }).once('close', () => { resolve() }) })
    return socket
  }

  /** First packets of handshakes, all at once from one address. */
  async burst (count: number, address = '127.0.0.1'): Promise<void> {
    const socket = createSocket('udp4')
    this.#t.after(() => { socket.close() })
    socket.bind(0, address)
    await once(socket, 'listening')
    for (const packet of await initialPackets(count)) socket.send(packet, this.ports.http3, '127.0.0.1')
  }

  async failures (reason: string): Promise<number> {
    return await metric(this.running.adminUrl, 'icn_relay_viewer_handshake_failures_total', `{reason="${reason}"}`)
  }

  async change (numbers: Record<string, number>): Promise<void> {
    const response = await request(`${this.running.adminUrl}/admin/v1/limits`, { method: 'PUT', body: JSON.stringify(numbers), headers: { 'content-type': 'application/json' } })
    assert.equal(response.statusCode, 200, await response.body.text())
  }

  async report (): Promise<{ tracked: { handshakes: number }, refused: Record<string, number> }> {
    return await (await request(`${this.running.adminUrl}/admin/v1/limits`)).body.json() as { tracked: { handshakes: number }, refused: Record<string, number> }
  }

  /** Waits until no address has had a handshake lately. */
  async quiet (): Promise<void> {
    await until(async () => await this.report(), ({ tracked }) => tracked.handshakes === 0)
  }
}

test('who sends under the address of others does not keep them out; too many of their own are refused and counted', LIMIT, async t => {
  const rig = await Rig.start(t, { handshakes_per_second_per_ip: 10 })
  // Nobody answers the Retries that all but the first five of these get.
  await rig.burst(60)
  const session = await rig.connect()
  assert.equal(await rig.failures('rate-address'), 0)
  // Those who do answer can empty the bucket.
  await until(async () => {
    await Promise.allSettled(Array.from({ length: 20 }, async () => { await rig.connect() }))
    return await rig.failures('rate-address')
  }, count => count > 0)
  assert.equal(await rig.failures('rate-total'), 0)
  const { refused } = await rig.report()
  assert.ok((refused['handshakesPerIp'] ?? 0) > 0)
  assert.equal(refused['handshakesTotal'], 0)
  session.close()
  await rig.quiet()
})

test('too many in total are refused whatever the address, over TCP by a reset before TLS', LIMIT, async t => {
  const rig = await Rig.start(t, { handshakes_per_second: 2 })
  const sockets = await Promise.all(Array.from({ length: 40 }, async (_, n) => await rig.knock(`127.0.0.${n + 2}`)))
  await until(async () => await rig.failures('rate-total'), count => count > 0)
  const refused = await rig.failures('rate-total')
  await until(async () => sockets.filter(socket => socket.resume().destroyed).length, count => count >= refused)
  assert.ok(sockets.some(socket => !socket.destroyed), 'those within the limit are kept')
  assert.equal(await rig.failures('rate-address'), 0)
  assert.equal((await rig.report()).refused['handshakesTotal'], await rig.failures('rate-total'))
})

test('both roads draw on one bucket: a WebSocket handshake leaves none for HTTP/3', LIMIT, async t => {
  const rig = await Rig.start(t, { handshakes_per_second_per_ip: 1 })
  // A machine that takes a second between the two lets the second in, so it may take more than one try; with buckets apart it would never be refused.
  await until(async () => {
    await rig.quiet()
    const knocked = await rig.knock()
    const outcome = await rig.connect().then(() => 'connected', (error: unknown) => String(error))
    knocked.destroy()
    return outcome
  }, outcome => outcome === 'ConnectError: closed with transport code 0x2')
  assert.ok(await until(async () => await rig.failures('rate-address'), count => count > 0) >= 1)
})

test('numbers changed at run time reach the gateway at once, sessions that exist too, and outlive a gateway', LIMIT, async t => {
  const rig = await Rig.start(t, {})
  const session = await rig.connect()
  const ask = async (on: TransportSession): Promise<string> => {
    const stream = await on.openBidi()
    await stream.write(Buffer.from(`GET ${SHARD} HTTP/1.1\r\n\r\n`))
    await stream.end()
    return (await readAll(stream)).toString('latin1')
  }
  const crowd = async (on: TransportSession): Promise<string[]> => await Promise.all(Array.from({ length: 30 }, async () => await ask(on)))
  assert.ok((await crowd(session)).every(answer => answer.startsWith('HTTP/1.1 200 ')))
  await rig.change({ requestsPerSecondPerViewer: 1 })
  const refused = await until(async () => (await crowd(session)).filter(answer => answer.startsWith('HTTP/1.1 429 ')), answers => answers.length > 0)
  for (const answer of refused) {
    assert.match(answer, /\r\nretry-after: 1\r\n/)
    assert.match(answer, /"code":"RELAY_ERR_RATE_LIMITED"/)
  }
  await until(async () => await metric(rig.running.adminUrl, 'icn_relay_viewer_requests_limited_total', '{transport="webtransport"}'), count => count >= refused.length)
  assert.ok(((await rig.report()).refused['requests'] ?? 0) >= refused.length)

  const supervisor = rig.running.relay.admin.viewers.supervisor
  const { pid } = supervisor ?? {}
  assert.ok(pid)
  process.kill(pid, 'SIGKILL')
  await until(async () => supervisor, now => now?.listening !== undefined && now.pid !== pid)
  const next = await rig.connect()
  await until(async () => await crowd(next), answers => answers.some(answer => answer.startsWith('HTTP/1.1 429 ')))

  await rig.change({ handshakesPerSecondPerIp: 1 })
  await until(async () => await Promise.allSettled(Array.from({ length: 5 }, async () => { await rig.connect() })), results => results.some(({ status }) => status === 'rejected'))
  await until(async () => await rig.failures('rate-address'), count => count > 0)
})
