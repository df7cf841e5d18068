/** The handshake and request limits over real sessions: relay, gateway process, both transports. */
import assert from 'node:assert/strict'
import { connect as connectTcp, type Socket } from 'node:net'
import test, { type TestContext } from 'node:test'
import { request } from 'undici'
import { startSuperNode } from '../../demo/super-node/server.ts'
import { connectQuinn } from '../../client/src/node-quinn.ts'
import { perTransport, type PerTransport } from '../../src/protocol/session-transports.ts'
import type { TransportSession } from '../../src/protocol/transport-session.ts'
import { quinnBinding } from '../../tools/harness/quinn.ts'
import { openGatewaySession, openSession, readAll } from '../../tools/harness/quinn-rig.ts'
import { metric, until } from '../../tools/harness/http.ts'
import { startRelay, type RunningRelay } from '../../tools/harness/relay.ts'

const LIMIT = { timeout: 240_000 }
const SHARD = '/shards/syn-1000-limits/shard_0.bin'

class Rig {
  readonly #t: TestContext
  readonly running: RunningRelay

  private constructor (t: TestContext, running: RunningRelay) {
    this.#t = t
    this.running = running
  }

  static async start (t: TestContext, limits: Record<string, number>, viewer: Record<string, boolean> = {}): Promise<Rig> {
    const origin = await startSuperNode({ port: 0 })
    t.after(async () => { await origin.close() })
    const settings = { limits, viewer, transport: { engine: 'quinn', heartbeat_ms: 50 }, admin: { requests_per_minute: 100_000 } }
    return new Rig(t, await startRelay(t, [{ url: origin.url, region: origin.region }], settings))
  }

  get ports (): PerTransport<number> {
    const open = this.running.relay.admin.viewers.listening()?.open
    return perTransport(name => open?.[name]?.port ?? 0)
  }

  async connect (): Promise<TransportSession> {
    const session = await openSession(this.running.viewerUrl)
    this.#t.after(() => { session.close() })
    return session
  }

  /** A TCP connection to the WebSocket transport; whether it was reset on accept shows later. */
  async knock (localAddress = '127.0.0.1'): Promise<Socket> {
    const socket = connectTcp({ host: '127.0.0.1', port: this.ports.websocket, localAddress })
    socket.on('error', () => {})
    this.#t.after(() => { socket.destroy() })
    await new Promise<void>(resolve => { socket.once('connect', () => { resolve() }).once('close', () => { resolve() }) })
    return socket
  }

  /** A session by a URL of the caller's own. */
  async dial (query: string): Promise<TransportSession> {
    const { relay } = this.running
    const session = await connectQuinn(quinnBinding(), `https://127.0.0.1:${this.ports.webtransport}/v1/viewer?${query}`, { certificateHashes: relay.admin.certificates.hashes().map(({ value }) => Buffer.from(value, 'base64')) })
    this.#t.after(() => { session.close() })
    return session
  }

  /** Asks how to connect, which takes a ticket. */
  async ticket (): Promise<{ status: number, ticket: string | null, retryAfter: string | undefined }> {
    const { statusCode: status, headers, body } = await request(`${this.running.viewerUrl}/v1/transport`)
    const { webtransport } = await body.json() as { webtransport?: { url: string } }
    return { status, ticket: webtransport === undefined ? null : new URL(webtransport.url).searchParams.get('ticket'), retryAfter: headers['retry-after']?.toString() }
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

test('more tickets of an address than handshakes are allowed are refused with 429 and counted, and every ticket is another one', LIMIT, async t => {
  const rig = await Rig.start(t, { handshakes_per_second_per_ip: 10 })
  const answers: Awaited<ReturnType<Rig['ticket']>>[] = []
  // On a machine that takes a second for these all of them are given; then once more.
  await until(async () => {
    answers.push(...await Promise.all(Array.from({ length: 40 }, async () => await rig.ticket())))
    return answers.filter(({ status }) => status === 429).length
  }, refused => refused > 0)
  const given = answers.filter(({ status }) => status === 200)
  const refused = answers.filter(({ status }) => status === 429)
  assert.ok(given.length >= 10, `${given.length} tickets`)
  assert.equal(given.length + refused.length, answers.length)
  assert.ok(refused.every(({ retryAfter }) => retryAfter === '1'))
  assert.equal(new Set(given.map(({ ticket }) => ticket)).size, given.length)
  assert.equal(await rig.failures('rate-address'), refused.length)
  const report = await rig.report()
  assert.deepEqual([report.refused['handshakesPerSecondPerIp'], report.refused['handshakesPerSecond']], [refused.length, 0])
  await rig.quiet()
  const session = await rig.connect()
  session.close()
})

test('a session without a ticket, with a spent, a tampered or a foreign one is refused and counted; with one it has the address the ticket was issued to', LIMIT, async t => {
  const rig = await Rig.start(t, {})
  const { relay, adminUrl } = rig.running
  const ticket = (await rig.ticket()).ticket ?? assert.fail('no ticket')
  const knock = async (query: string): Promise<void> => { await assert.rejects(rig.dial(query), { name: 'ConnectError' }) }
  await knock('')
  await knock(`ticket=${ticket.slice(0, -2)}`)
  await knock('ticket=%00&ticket=2')
  const session = await rig.dial(`ticket=${ticket}`)
  await knock(`ticket=${ticket}`)
  // Another gateway has another key, so that a ticket used before a crash is not good after it.
  const issuer = relay.admin.viewers.tickets?.issue('192.0.2.7')
  assert.ok(issuer !== undefined && 'ticket' in issuer)
  const foreign = await rig.dial(`ticket=${issuer.ticket}`)
  const { viewers } = await until(async () => await (await request(`${adminUrl}/admin/v1/viewers`)).body.json() as { viewers: { address: string }[] }, report => report.viewers.length === 2)
  assert.deepEqual(viewers.map(({ address }) => address).sort(), ['127.0.0.1', '192.0.2.7'])
  await until(async () => await rig.failures('ticket'), count => count === 4)
  const kept = (await rig.ticket()).ticket ?? assert.fail('no ticket')
  const { supervisor } = relay.admin.viewers
  const { pid } = supervisor ?? {}
  assert.ok(pid)
  session.close()
  foreign.close()
  process.kill(pid, 'SIGKILL')
  await until(async () => supervisor, now => now?.listening !== undefined && now.pid !== pid)
  await knock(`ticket=${kept}`)
})

test('where no ticket is asked for, those without one share the limits of one address', LIMIT, async t => {
  const rig = await Rig.start(t, { handshakes_per_second_per_ip: 2 }, { require_ticket: false })
  assert.equal((await rig.ticket()).ticket, null)
  const outcomes = await Promise.allSettled(Array.from({ length: 30 }, async () => await openGatewaySession(rig.running.relay)))
  assert.ok(outcomes.some(({ status }) => status === 'fulfilled'))
  assert.ok(outcomes.some(({ status }) => status === 'rejected'))
  for (const outcome of outcomes) if (outcome.status === 'fulfilled') outcome.value.close()
  await until(async () => await rig.failures('rate-address'), count => count > 0)
})

test('too many in total are refused whatever the address, over TCP by a reset before TLS', LIMIT, async t => {
  const rig = await Rig.start(t, { handshakes_per_second: 2 })
  const sockets = await Promise.all(Array.from({ length: 40 }, async (_, n) => await rig.knock(`127.0.0.${n + 2}`)))
  await until(async () => await rig.failures('rate-total'), count => count > 0)
  const refused = await rig.failures('rate-total')
  await until(async () => sockets.filter(socket => socket.resume().destroyed).length, count => count >= refused)
  assert.ok(sockets.some(socket => !socket.destroyed), 'those within the limit are kept')
  assert.equal(await rig.failures('rate-address'), 0)
  await until(async () => [(await rig.report()).refused['handshakesPerSecond'], await rig.failures('rate-total')], ([told, counted]) => told === counted)
})

test('numbers changed at run time reach the gateway immediately, sessions that exist too, and outlive a gateway', LIMIT, async t => {
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
  // At one request in a second `/v1/transport` may say 429.
  const next = await openGatewaySession(rig.running.relay)
  t.after(() => { next.close() })
  await until(async () => await crowd(next), answers => answers.some(answer => answer.startsWith('HTTP/1.1 429 ')))

  await rig.change({ handshakesPerSecondPerIp: 1, requestsPerSecondPerViewer: 1_000 })
  await until(async () => {
    await Promise.allSettled(Array.from({ length: 5 }, async () => { await rig.connect() }))
    return await rig.failures('rate-address')
  }, count => count > 0)
})
