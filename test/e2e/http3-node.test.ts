/** The bundled engine over real UDP on the loopback interface, with its own Node client. */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { test } from 'node:test'
import { dialHttp3 } from '../../src/client/node.ts'
import type { IncomingStream } from '../../src/client/session.ts'
import { transportConnector } from '../../src/client/transport-session.ts'
import { MAX_HALF_OPEN, RETRY_THRESHOLD } from '../../src/gateway/transports/http3/admission.ts'
import { ConnectError, connectHttp3 } from '../../src/gateway/transports/http3/client.ts'
import { loadQuiche } from '../../src/gateway/transports/http3/quiche-binding.ts'
import { clientConfig } from '../../src/gateway/transports/http3/quiche-config.ts'
import type { AddressProof } from '../../src/limits/handshake-limiter.ts'
import { TransportError } from '../../src/gateway/transports/viewer-transport.ts'
import type { BidiStream, TransportListener } from '../../src/gateway/transports/viewer-transport.ts'
import { certificate, connectClient, fetchBytes, makeCertificate, pattern, readAll, serveBytes, sha256, startListener } from '../support/http3-setup.ts'
import { startProxy } from '../support/http3-udp-proxy.ts'

const MIB = 1024 * 1024
const body = pattern(8 * MIB)
const options = { timeout: 30_000 }
const pins = [{ algorithm: 'sha-256' as const, value: certificate.hash }]

/** Waits for a condition that packets bring about; the test's own timeout is the limit. */
async function until (condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 5))
}

/** Nothing is left of sessions and streams. */
function assertEmpty (listener: TransportListener): void {
  for (const [name, size] of Object.entries(listener.sizes())) {
    // The sockets' timers and the connections themselves may still be draining.
    if (['sessions', 'streams', 'writers', 'parked', 'unclassified', 'creditWaiters', 'halfOpen', 'heldBytes', 'pendingResets'].includes(name)) assert.equal(size, 0, name)
  }
}

test('8 MiB arrive with the right digest, and 64 streams at once each with theirs', options, async (t) => {
  const { url, listener, sessions } = await startListener(t, serveBytes(body))
  const session = await connectClient(t, `${url}?token=abc`, { headers: { origin: 'https://player.example' } })
  assert.equal(sha256(await fetchBytes(session, body.length)), sha256(body))
  const parts = await Promise.all(Array.from({ length: 64 }, (_, index) => fetchBytes(session, 200_000 + index)))
  for (const [index, part] of parts.entries()) assert.equal(sha256(part), sha256(body.subarray(0, 200_000 + index)))
  const [served] = sessions
  assert.ok(served)
  assert.equal(served.request.path, '/v1/viewer?token=abc')
  assert.equal(served.request.headers.origin, 'https://player.example')
  assert.equal(served.request.peer.ip, '127.0.0.1')
  assert.ok(served.stats().bytesSent > body.length)
  session.close(3, 'ciao')
  assert.deepEqual(await served.closed, { code: 3, reason: 'ciao', clean: true })
  await until(() => listener.sizes().links === 0)
  assertEmpty(listener)
})

test('8 MiB go up as well, with back-pressure while nobody reads', options, async (t) => {
  let received: Promise<Buffer> | undefined
  let begin: () => void = () => {}
  const gate = new Promise<void>((resolve) => { begin = resolve })
  const { url } = await startListener(t, (session) => {
    session.onStream = (stream) => { received = gate.then(() => readAll(stream)) }
  })
  const session = await connectClient(t, url)
  const stream = await session.openBidi()
  let written = false
  const writing = stream.write(body).then(() => { written = true })
  await until(() => received !== undefined)
  await fetchNothing(session)
  assert.equal(written, false)
  begin()
  await writing
  await stream.end()
  assert.equal(sha256(await (received ?? Promise.reject(new Error('no stream')))), sha256(body))
})

/** A round trip that proves the connection is alive. */
async function fetchNothing (session: Awaited<ReturnType<typeof connectHttp3>>): Promise<void> {
  const stream = await session.openUni()
  await stream.end()
}

test('a reset in mid-transfer reaches the other side with its code, both ways, and so does STOP_SENDING', options, async (t) => {
  const stopped: unknown[] = []
  const errors: unknown[] = []
  const { url, listener } = await startListener(t, (session) => {
    session.onStream = (stream) => {
      void (async () => {
        const line = Buffer.from(await stream.read() ?? []).toString()
        if (line.startsWith('reset')) {
          await stream.write(body.subarray(0, MIB))
          stream.reset(4242)
          stream.cancel(0)
        } else if (line.startsWith('stop')) {
          stream.stopped.addEventListener('abort', () => stopped.push(stream.stopped.reason))
          await stream.write(body).catch((error: unknown) => errors.push(error))
          stream.cancel(0)
        } else {
          await readAll(stream).catch((error: unknown) => errors.push(error))
          await stream.end()
        }
      })()
    }
  })
  const session = await connectClient(t, url)
  const ask = async (line: string): Promise<BidiStream> => {
    const stream = await session.openBidi()
    await stream.write(Buffer.from(line))
    return stream
  }
  const isError = (kind: string, code: number) => (error: unknown): boolean => error instanceof TransportError && error.kind === kind && error.applicationCode === code
  const first = await ask('reset\n')
  await assert.rejects(readAll(first), isError('reset', 4242))
  await first.end().catch(() => {})
  const second = await ask('stop\n')
  await second.read()
  second.cancel(99)
  await second.end().catch(() => {})
  await until(() => stopped.length === 1 && errors.length === 1)
  assert.ok(isError('stopped', 99)(stopped[0]))
  const third = await ask('upload\n')
  await third.write(body.subarray(0, 100_000))
  third.reset(7)
  assert.equal(await third.read(), null)
  assert.ok(isError('reset', 7)(errors[1]))
  await until(() => listener.sizes().streams === 0)
})

test('streams of the server reach the client; without a taker they are cancelled', options, async (t) => {
  const { url, sessions } = await startListener(t, () => {})
  const session = await connectClient(t, url)
  const [served] = sessions
  assert.ok(served)
  const unwanted = await served.openUni()
  await unwanted.write(Buffer.from('nobody'))
  await once(unwanted.stopped, 'abort')
  const got = new Promise<string>((resolve) => {
    session.onUni = (stream) => { resolve(readAll(stream).then(String)) }
  })
  const control = await served.openUni()
  await control.write(Buffer.from('{"type":"hello"}\n'))
  await control.end()
  assert.equal(await got, '{"type":"hello"}\n')
  session.onStream = (stream) => { void readAll(stream).then(async (bytes) => { await stream.write(bytes); await stream.end() }) }
  const echo = await served.openBidi()
  await echo.write(Buffer.from('ping'))
  await echo.end()
  assert.equal(String(await readAll(echo)), 'ping')
})

test('a stream that comes with the packet that opens the session reaches the client', options, async (t) => {
  const { url } = await startListener(t, session => {
    const greet = async (): Promise<void> => {
      const control = await session.openUni()
      await control.write(Buffer.from('{"type":"hello"}\n'))
      await control.end()
    }
    greet().catch(() => {})
  })
  const connect = transportConnector(dialHttp3)
  const heard = await Promise.all(Array.from({ length: 20 }, async () => {
    const hello = new Promise<IncomingStream>((resolve, reject) => {
      connect({ url, certificateHashes: [Uint8Array.from(certificate.hash)], signal: AbortSignal.timeout(20_000), onIncoming: resolve })
        .then(session => { t.after(() => { session.close() }) }, reject)
    })
    return String(await readAll(await hello))
  }))
  assert.deepEqual(heard, Array.from({ length: 20 }, () => '{"type":"hello"}\n'))
})

test('a control message is not held back until the next one', options, async (t) => {
  const { url, sessions } = await startListener(t, () => {})
  const session = await connectClient(t, url)
  const first = new Promise<Buffer>((resolve) => {
    session.onUni = (stream) => {
      void (async () => {
        let text = Buffer.alloc(0)
        while (!text.includes('\n')) text = Buffer.concat([text, await stream.read() ?? Buffer.from('\n')])
        resolve(text)
      })()
    }
  })
  const control = await sessions[0]?.openUni()
  await control?.write(Buffer.from('{"type":"hello"}\n'))
  assert.equal(String(await first), '{"type":"hello"}\n')
})

test('more streams than the limit are refused, and credit returns: 3,000 one after the other on one session', options, async (t) => {
  const held: BidiStream[] = []
  const { url, listener } = await startListener(t, (session) => {
    session.onStream = (stream) => { held.push(stream) }
  }, { maxStreamsPerSession: 4 })
  const session = await connectClient(t, url)
  const refused: string[] = []
  for (let count = 0; count < 6; count++) {
    const stream = await session.openBidi()
    await stream.write(Buffer.from('hi'))
    stream.read().catch((error: TransportError) => refused.push(error.kind))
  }
  await until(() => held.length === 4 && refused.length === 2)
  assert.deepEqual(refused, ['reset', 'reset'])
  for (const stream of held) {
    stream.reset(0)
    stream.cancel(0)
  }
  await until(() => listener.sizes().streams === 0)
  const many = await startListener(t, serveBytes(body))
  const other = await connectClient(t, many.url)
  for (let batch = 0; batch < 60; batch++) {
    const sizes = await Promise.all(Array.from({ length: 50 }, async () => (await fetchBytes(other, 100)).length))
    assert.ok(sizes.every((size) => size === 100))
  }
  other.close()
  await until(() => many.listener.sizes().links === 0)
  assertEmpty(many.listener)
})

test('FIN and resets survive loss: 200 answers and 100 resets through a path that loses 5 % of its packets', options, async (t) => {
  let resets = false
  const { listener } = await startListener(t, (session) => {
    serveBytes(body)(session)
    const answer = session.onStream
    session.onStream = (stream) => {
      if (!resets) answer(stream)
      else void readAll(stream).then(() => stream.write(body.subarray(0, 5000))).then(() => { stream.reset(9) })
    }
  })
  let state = 12345
  const proxy = await startProxy(listener.port, {
    drop: (_packet, _toServer, index) => {
      state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff
      return index > 20 && state % 100 < 5
    }
  })
  t.after(() => { proxy.close() })
  const session = await connectClient(t, `https://127.0.0.1:${proxy.port}/v1/viewer`)
  for (let batch = 0; batch < 10; batch++) {
    const parts = await Promise.all(Array.from({ length: 20 }, (_, index) => fetchBytes(session, 5000 + 700 * index)))
    for (const [index, part] of parts.entries()) assert.equal(part.length, 5000 + 700 * index)
  }
  resets = true
  for (let batch = 0; batch < 5; batch++) {
    const outcomes = await Promise.all(Array.from({ length: 20 }, () => fetchBytes(session, 1).then(() => 'whole', (error: TransportError) => error.applicationCode)))
    assert.deepEqual(outcomes, Array.from({ length: 20 }, () => 9))
  }
  assert.ok(proxy.counts.dropped > 20)
})

test('a NAT that rebinds in mid-transfer costs nothing but packets', options, async (t) => {
  const { listener } = await startListener(t, serveBytes(body))
  const proxy = await startProxy(listener.port)
  t.after(() => { proxy.close() })
  const session = await connectClient(t, `https://127.0.0.1:${proxy.port}/v1/viewer`)
  await fetchBytes(session, 1000)
  const fetching = fetchBytes(session, body.length)
  await until(() => proxy.counts.toClient > 500)
  await proxy.rebind()
  assert.equal(sha256(await fetching), sha256(body))
})

test('refusals: status of the application, wrong path, wrong certificate, too many sessions', options, async (t) => {
  const { url, failures } = await startListener(t, () => {}, { maxSessions: 1 }, {
    decide: (request) => request.headers.authorization === 'Bearer ok' ? { accept: true } : { accept: false, status: 401 }
  })
  const status = (expected: number) => (error: unknown): boolean => error instanceof ConnectError && error.status === expected
  await assert.rejects(connectHttp3(url, { certificateHashes: pins }), status(401))
  await assert.rejects(connectHttp3(url.replace('viewer', 'other'), { certificateHashes: pins }), status(404))
  await assert.rejects(connectHttp3(url, { certificateHashes: [{ algorithm: 'sha-256', value: Buffer.alloc(32) }] }), /not one of those pinned/)
  const good = await connectClient(t, url, { headers: { authorization: 'Bearer ok' } })
  await assert.rejects(connectHttp3(url, { certificateHashes: pins, headers: { authorization: 'Bearer ok' } }), status(503))
  good.close()
  assert.deepEqual(failures.map((failure) => failure.reason).filter((reason) => reason !== 'protocol'), ['refused', 'refused', 'limit'])
})

test('a CA verifies the name; a new certificate serves new sessions while old ones stay', options, async (t) => {
  const { url, listener } = await startListener(t, serveBytes(body))
  const old = await connectClient(t, url)
  const fresh = makeCertificate()
  listener.setTls(fresh)
  // Material that cannot be used is logged, and what was there stays.
  listener.setTls({ cert: 'nonsense', key: 'nonsense' })
  listener.setTls({ cert: fresh.cert, key: certificate.key })
  await assert.rejects(connectHttp3(url, { certificateHashes: pins }), ConnectError)
  const viaCa = await connectHttp3(url, { ca: fresh.cert })
  t.after(() => { viaCa.close() })
  assert.equal((await fetchBytes(viaCa, 100)).length, 100)
  assert.equal((await fetchBytes(old, 100)).length, 100)
  await assert.rejects(connectHttp3(url, { ca: certificate.cert }), ConnectError)
})

test('nobody there: the client gives up in time, or when told to', options, async () => {
  const socket = createSocket('udp4')
  socket.bind(0, '127.0.0.1')
  await once(socket, 'listening')
  const url = `https://127.0.0.1:${socket.address().port}/v1/viewer`
  await assert.rejects(connectHttp3(url, { certificateHashes: pins, timeoutMs: 200 }), /no session within 200 ms/)
  const controller = new AbortController()
  const attempt = connectHttp3(url, { certificateHashes: pins, signal: controller.signal })
  controller.abort(new Error('changed my mind'))
  await assert.rejects(attempt, /changed my mind/)
  socket.close()
})

test('a silent peer is given up after the idle timeout, and its session ends uncleanly', options, async (t) => {
  const { listener, sessions } = await startListener(t, () => {}, { idleTimeoutMs: 300 })
  let silent = false
  const proxy = await startProxy(listener.port, { drop: () => silent })
  t.after(() => { proxy.close() })
  const session = await connectClient(t, `https://127.0.0.1:${proxy.port}/v1/viewer`)
  silent = true
  const [served] = sessions
  assert.ok(served)
  assert.equal((await served.closed).clean, false)
  assert.equal((await session.closed).clean, false)
  await until(() => listener.sizes().links === 0)
})

test('close: sessions learn of it by the protocol, the port is free, all within a second; twice is once', options, async (t) => {
  const { url, listener } = await startListener(t, serveBytes(body))
  const sessions = await Promise.all(Array.from({ length: 5 }, () => connectClient(t, url)))
  const transfer = fetchBytes(sessions[0] ?? assert.fail(), body.length).then(() => 'whole', (error: TransportError) => error.kind)
  const before = performance.now()
  await Promise.all([listener.close(), listener.close()])
  assert.ok(performance.now() - before < 1000)
  for (const session of sessions) assert.deepEqual(await session.closed, { code: 0, reason: 'the relay is stopping', clean: true })
  assert.ok(['session-closed', 'reset', 'whole'].includes(await transfer))
  assert.deepEqual(Object.values(listener.sizes()).filter((size) => size !== 0), [])
  const again = await startListener(t, serveBytes(body), { port: listener.port })
  assert.equal(again.listener.port, listener.port)
})

for (const [title, sends] of [['sends', true], ['only waits for bytes', false]] as const) {
  test(`a client that ${title} learns by a stateless reset that its relay was restarted, not by its idle timeout`, options, async (t) => {
    const first = await startListener(t, (session) => {
      if (sends) serveBytes(body)(session)
      // The first bytes of an answer, and no more.
      else session.onStream = (stream) => { void readAll(stream).then(() => stream.write(Buffer.from('begun'))) }
    }, { resetSecret: 'of this relay' })
    const proxy = await startProxy(first.listener.port)
    t.after(() => { proxy.close() })
    let crashed = false
    // The close of the first listener must not arrive: it stands for a process that was killed.
    const cut = await startProxy(proxy.port, { drop: (_packet, toServer) => crashed && !toServer })
    t.after(() => { cut.close() })
    const session = await connectClient(t, `https://127.0.0.1:${cut.port}/v1/viewer`)
    if (sends) {
      await fetchBytes(session, 1000)
    } else {
      const stream = await session.openBidi()
      await stream.write(Buffer.from('GET 1\n'))
      await stream.end()
      // What brought them has acknowledged the request: nothing is left that the client would repeat.
      for (let got = 0; got < 5;) got += (await stream.read())?.length ?? 5
      stream.read().catch(() => {})
    }
    crashed = true
    await first.listener.close()
    // Its certificate has been replaced meanwhile.
    const second = await startListener(t, serveBytes(body), { port: first.listener.port, resetSecret: 'of this relay', tls: makeCertificate() })
    crashed = false
    const restarted = performance.now()
    if (sends) {
      const stream = await session.openBidi()
      stream.write(Buffer.from('GET 1\n')).catch(() => {})
    }
    const { clean } = await session.closed
    assert.equal(clean, false)
    assert.equal(second.sessions.length, 0)
    const took = performance.now() - restarted
    t.diagnostic(`heard ${Math.round(took)} ms after the restart`)
    assert.ok(took < 5_000, `${took} ms`)
  })
}

/** First packets of real handshakes, each of a new client. */
async function initials (count: number): Promise<Buffer[]> {
  const binding = await loadQuiche()
  const config = clientConfig(binding, undefined, { idleTimeoutMs: 1000, maxStreamsBidi: 1, congestionControl: 'cubic' })
  const address = { host: '127.0.0.1', port: 1 }
  return Array.from({ length: count }, () => {
    const out = Buffer.alloc(1350)
    const sent = binding.Connection.connect(null, randomBytes(16), address, address, config).send(out)
    return out.subarray(0, sent?.[0] ?? 0)
  })
}

test('1,000 half-open handshakes stay within the caps, are asked for proof, expire, and do not keep viewers out', options, async (t) => {
  const { url, listener, failures } = await startListener(t, serveBytes(body), { handshakeTimeoutMs: 600 })
  const socket = createSocket('udp4')
  t.after(() => { socket.close() })
  let replies = 0
  socket.on('message', (packet) => { if (((packet[0] ?? 0) & 0xf0) === 0xf0) replies++ })
  for (const [index, packet] of (await initials(1000)).entries()) {
    socket.send(packet, listener.port, '127.0.0.1')
    if (index % 50 === 49) {
      await new Promise((resolve) => setImmediate(resolve))
      const { halfOpen = 0, guests = 0, routes = 0 } = listener.sizes()
      assert.ok(halfOpen <= RETRY_THRESHOLD && guests <= MAX_HALF_OPEN + 100 && routes <= 2 * guests + 8)
    }
  }
  await until(() => listener.sizes().halfOpen === RETRY_THRESHOLD && replies > 100)
  // Under load a real client proves its address with the Retry and gets in.
  const session = await connectClient(t, url)
  assert.equal((await fetchBytes(session, 5000)).length, 5000)
  await until(() => listener.sizes().halfOpen === 0)
  assert.ok(failures.filter((failure) => failure.reason === 'timeout').length >= RETRY_THRESHOLD)
})

test('a handshake the limits refuse costs no connection, and the client hears CONNECTION_REFUSED, also behind a Retry', options, async (t) => {
  const proofs: AddressProof[] = []
  const first = await startListener(t, serveBytes(body), {}, { admit: () => 'rate-address' })
  const second = await startListener(t, serveBytes(body), {}, {
    admit: (ip, proof) => {
      assert.equal(ip, '127.0.0.1')
      proofs.push(proof)
      return proof === 'given' ? 'rate-total' : 'prove'
    }
  })
  for (const [{ url, listener, failures }, reason] of [[first, 'rate-address'], [second, 'rate-total']] as const) {
    await assert.rejects(connectHttp3(url, { certificateHashes: pins, timeoutMs: 20_000 }), new ConnectError('closed with transport code 0x2'))
    assert.deepEqual(failures.map((failure) => failure.reason), [reason])
    const { guests, halfOpen, links } = listener.sizes()
    assert.deepEqual({ guests, halfOpen, links }, { guests: 0, halfOpen: 0, links: 0 })
  }
  assert.deepEqual(proofs, ['optional', 'given'])
})

test('an address that has to be proven is, by a Retry, and the session opens', options, async (t) => {
  const proofs: AddressProof[] = []
  const { url, failures } = await startListener(t, serveBytes(body), {}, {
    admit: (_ip, proof) => {
      proofs.push(proof)
      return proof === 'given' ? 'admit' : 'prove'
    }
  })
  const session = await connectClient(t, url)
  assert.equal((await fetchBytes(session, 5_000)).length, 5_000)
  assert.deepEqual([proofs, failures], [['optional', 'given'], []])
})

test('2,000 random datagrams and 2,000 mutated packets: the listener lives, its maps return to nothing', options, async (t) => {
  const { url, listener } = await startListener(t, serveBytes(body), { handshakeTimeoutMs: 500 })
  const session = await connectClient(t, url)
  const socket = createSocket('udp4')
  t.after(() => { socket.close() })
  socket.on('message', () => {})
  const recorded = await initials(4)
  for (let count = 0; count < 2000; count++) {
    const noise = randomBytes(1 + count % 1400)
    if (count % 2 === 0) noise[0] = (noise[0] ?? 0) | 0xc0
    if (count % 4 === 0 && noise.length > 5) noise.writeUInt32BE(1, 1)
    const packet = Buffer.from(recorded[count % recorded.length] ?? [])
    for (let flips = 0; flips < 1 + count % 4; flips++) packet[(count * 7919 + flips * 104729) % packet.length] = count & 0xff
    socket.send(noise, listener.port, '127.0.0.1')
    socket.send(count % 3 === 0 ? packet.subarray(0, count % packet.length) : packet, listener.port, '127.0.0.1')
    if (count % 100 === 99) await new Promise((resolve) => setImmediate(resolve))
  }
  assert.equal(sha256(await fetchBytes(session, MIB)), sha256(body.subarray(0, MIB)))
  session.close()
  await until(() => listener.sizes().links === 0)
  assertEmpty(listener)
})

test('a session whose packets are mutated on the way ends or goes on, and the listener takes the next', options, async (t) => {
  const { url, listener } = await startListener(t, serveBytes(body), { handshakeTimeoutMs: 500, idleTimeoutMs: 500 })
  for (let round = 0; round < 3; round++) {
    const proxy = await startProxy(listener.port, {
      tamper: (packet, _toServer, index) => { if (index % 5 === round) packet[(index * 31) % packet.length] = (packet[(index * 31) % packet.length] ?? 0) ^ (1 << (index % 8)) }
    })
    const outcome = await connectHttp3(`https://127.0.0.1:${proxy.port}/v1/viewer`, { certificateHashes: pins, timeoutMs: 1000, idleTimeoutMs: 500 })
      .then(async (session) => {
        const got = await fetchBytes(session, 300_000).catch(() => undefined)
        session.close()
        return got
      }, () => undefined)
    if (outcome !== undefined) assert.equal(sha256(outcome), sha256(body.subarray(0, 300_000)))
    proxy.close()
  }
  const session = await connectClient(t, url)
  assert.equal((await fetchBytes(session, 1000)).length, 1000)
})

test('100 sessions one after the other leave nothing behind', options, async (t) => {
  const { url, listener } = await startListener(t, serveBytes(body))
  for (let count = 0; count < 100; count++) {
    const session = await connectHttp3(url, { certificateHashes: pins })
    assert.equal((await fetchBytes(session, 100)).length, 100)
    session.close()
  }
  await until(() => listener.sizes().links === 0)
  assert.deepEqual(Object.values(listener.sizes()).filter((size) => size !== 0), [])
})
