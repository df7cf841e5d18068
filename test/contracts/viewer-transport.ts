import assert from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { after, before, describe, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { HandshakeLimiter, openGate, type HandshakeGate } from '../../src/admission/handshake-limiter.ts'
import type { TlsMaterial } from '../../src/channel/tls-material.ts'
import { createSelfSigned } from '../../src/plugins/tls/self-signed.ts'
import type { HandshakeFailure } from '../../src/channel/gateway-counters.ts'
import type { ListenerEvents, ListenerOptions, SessionDecision, TransportListener, ViewerTransport } from '../../src/gateway/transports/viewer-transport.ts'
import type { SessionTransportName } from '../../src/protocol/session-transports.ts'
import { TransportError, type BidiStream, type ReceiveStream, type SendStream, type SessionRequest, type TransportSession } from '../../src/protocol/transport-session.ts'

/** The viewer's end of a session, in the words of the same interface. */
export interface ContractClient extends Pick<TransportSession, 'openBidi' | 'openUni' | 'onStream' | 'onUni' | 'close' | 'closed'> {
  /** Loses the connection without a word to the peer. */
  lose? (): void
  /** Takes no byte off the connection until the returned function is called; for clients that read ahead without bound. */
  stall? (): () => void
}

/** What a client needs to dial a listener. */
export interface ContractTarget {
  readonly listener: TransportListener
  readonly port: number
  /** With query. */
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
  /** The certificate of the listener, to pin or to trust. */
  readonly cert: string
}

/** What an engine or its client side truly cannot do, each with the reason; the test is then skipped with it. */
export interface ContractLimits {
  /** The client does not learn the HTTP status of a refusal (its error has no `status`). */
  readonly refusalStatus?: string
  /** The client cannot send request headers of its own. */
  readonly requestHeaders?: string
  /** What a client hears when the handshake limits refuse it, where the engine cannot refuse the connection itself. */
  readonly limitStatus?: number
  /** A new certificate needs a new listener. */
  readonly setTls?: string
  /** The client cannot lose its connection on purpose. */
  readonly loss?: string
  /** The listener does not learn the peer's address, so that limits by address are the layer's above. */
  readonly peer?: string
  /** `stopped` is aborted with the next write only. */
  readonly stopNotice?: string
  /** Bidirectional streams of a session at the same time, where the engine fixes them. */
  readonly concurrentStreams?: number
}

export interface ContractSubject {
  readonly transport: ViewerTransport
  readonly transportName: SessionTransportName
  readonly connect: (target: ContractTarget) => Promise<ContractClient>
  readonly limits?: ContractLimits
  /** Reason to skip the whole suite. */
  readonly skip?: string | undefined
}

const PATH = '/v1/viewer'
const MB = 1_048_576
/** A writer whose peer never reads has to stop before this; windows and socket buffers of every engine fit in. */
const BACKPRESSURE_BOUND = 32 * MB

/** A certificate for 127.0.0.1; one for all suites of a process, since creating one costs milliseconds. */
export const contractTls: TlsMaterial = createSelfSigned([], Date.now())

class Rig {
  readonly failures: Array<{ reason: HandshakeFailure, detail: string }> = []
  readonly logs: string[] = []
  readonly requests: SessionRequest[] = []
  readonly #sessions: TransportSession[] = []
  #wake: (() => void) | undefined
  decide: (request: SessionRequest) => SessionDecision | Promise<SessionDecision> = () => ({ accept: true })
  admit: HandshakeGate = openGate
  onStream: (stream: BidiStream, session: TransportSession) => void = stream => { echo(stream).catch(() => {}) }
  readonly clients: ContractClient[] = []
  readonly subject: ContractSubject
  cert: string = contractTls.cert
  #listener: TransportListener | undefined

  private constructor (subject: ContractSubject) {
    this.subject = subject
  }

  get listener (): TransportListener { return this.#listener ?? assert.fail('not listening') }

  static async start (subject: ContractSubject, overrides: Partial<ListenerOptions> = {}): Promise<Rig> {
    const rig = new Rig(subject)
    const events: ListenerEvents = {
      admit: (...question) => rig.admit(...question),
      decide: request => { rig.requests.push(request); return rig.decide(request) },
      session: session => { rig.accept(session) },
      handshakeFailed: (reason, detail) => { rig.failures.push({ reason, detail }) },
      log: (level, message) => { rig.logs.push(`${level}: ${message}`) }
    }
    rig.#listener = await subject.transport.listen({
      host: '127.0.0.1',
      port: 0,
      tls: contractTls,
      path: PATH,
      maxSessions: 16,
      maxStreamsPerSession: 256,
      handshakeTimeoutMs: 5_000,
      idleTimeoutMs: 30_000,
      ...overrides
    }, events)
    return rig
  }

  accept (session: TransportSession): void {
    session.onStream = stream => { this.onStream(stream, session) }
    this.#sessions.push(session)
    this.#wake?.()
  }

  async connect (path: string = PATH, headers: Readonly<Record<string, string>> = {}): Promise<ContractClient> {
    const client = await this.subject.connect({ listener: this.listener, port: this.listener.port, path, headers, cert: this.cert })
    this.clients.push(client)
    return client
  }

  /** The next session the listener handed over. */
  async session (): Promise<TransportSession> {
    for (;;) {
      const session = this.#sessions.shift()
      if (session !== undefined) return session
      await new Promise<void>(resolve => { this.#wake = resolve })
    }
  }

  async pair (): Promise<{ client: ContractClient, server: TransportSession }> {
    const client = await this.connect()
    return { client, server: await this.session() }
  }

  /** The next stream the peer opens, instead of echoing it. */
  nextStream (): Promise<BidiStream> {
    return new Promise(resolve => { this.onStream = stream => { resolve(stream) } })
  }

  async stop (): Promise<void> {
    for (const client of this.clients) client.close(0, 'test over')
    await this.listener.close()
  }
}

async function echo (stream: BidiStream): Promise<void> {
  for (;;) {
    const chunk = await stream.read()
    if (chunk === null) break
    await stream.write(chunk)
  }
  await stream.end()
}

async function readAll (stream: ReceiveStream): Promise<Buffer> {
  const chunks: Uint8Array[] = []
  for (;;) {
    const chunk = await stream.read()
    if (chunk === null) return Buffer.concat(chunks)
    chunks.push(chunk)
  }
}

async function writeAll (stream: SendStream, bytes: Uint8Array, step = 65_536): Promise<void> {
  for (let offset = 0; offset < bytes.length; offset += step) await stream.write(bytes.subarray(offset, offset + step))
  await stream.end()
}

async function ask (client: ContractClient, bytes: Uint8Array): Promise<Buffer> {
  const stream = await client.openBidi()
  const [, answer] = await Promise.all([writeAll(stream, bytes), readAll(stream)])
  return answer
}

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex')

async function rejection (promise: Promise<unknown>): Promise<TransportError> {
  try {
    await promise
  } catch (error) {
    assert.ok(error instanceof TransportError, `expected a TransportError, got ${String(error)}`)
    return error
  }
  return assert.fail('expected a rejection')
}

/** Writes until the engine holds the writer back; returns the bytes it took. Fails when it takes more than the bound. */
async function writeUntilStopped (stream: SendStream, state: { written: number, held: boolean }): Promise<void> {
  const chunk = randomBytes(65_536)
  while (state.held && state.written < BACKPRESSURE_BOUND) {
    await stream.write(chunk)
    state.written += chunk.length
  }
  await stream.end()
}

/** Resolves once `read` has returned the same number for 300 ms: a loopback peer that has room answers in far less. */
async function quiescent (read: () => number): Promise<number> {
  for (;;) {
    const seen = read()
    await delay(300)
    if (read() === seen && seen > 0) return seen
  }
}

/** Polls a condition that an event of the peer brings about; the test's own timeout bounds it. */
async function eventually (condition: () => boolean): Promise<void> {
  while (!condition()) await delay(5)
}

function aborted (signal: AbortSignal): Promise<unknown> {
  return signal.aborted ? Promise.resolve() : once(signal, 'abort')
}

/** The contract of `ViewerTransport`, run against every engine. */
export function viewerTransportContract (name: string, subject: ContractSubject): void {
  const { limits = {} } = subject

  describe(`viewer transport: ${name}`, { skip: subject.skip ?? false, timeout: 240_000 }, () => {
    const rejections: unknown[] = []
    const onRejection = (reason: unknown): void => { rejections.push(reason) }
    let alive: NodeJS.Timeout | undefined
    before(() => {
      process.on('unhandledRejection', onRejection)
      // Timers of engines are unref'd, and an in-process pair has no socket: something has to keep the loop alive.
      alive = setInterval(() => {}, 1_000)
    })
    after(() => {
      process.off('unhandledRejection', onRejection)
      clearInterval(alive)
    })

    const rigTest = (title: string, body: (rig: Rig) => Promise<void>, options: { overrides?: Partial<ListenerOptions>, skip?: string | undefined } = {}): void => {
      test(title, { skip: options.skip === undefined ? false : `engine limit: ${options.skip}`, timeout: 240_000 }, async () => {
        const rig = await Rig.start(subject, options.overrides)
        try {
          await body(rig)
        } finally {
          await rig.stop()
        }
      })
    }

    rigTest('a session shows its request: path with query, lower-case headers, authority, peer', async rig => {
      await rig.connect(`${PATH}?token=abc&x=1`)
      const session = await rig.session()
      assert.equal(session.transport, subject.transportName)
      assert.equal(session.request.path, `${PATH}?token=abc&x=1`)
      assert.deepEqual(Object.keys(session.request.headers).filter(key => key !== key.toLowerCase()), [])
      if (limits.peer === undefined) {
        assert.equal(session.request.peer?.ip, '127.0.0.1')
        assert.ok(session.request.peer.port > 0)
      } else {
        assert.equal(session.request.peer, undefined)
      }
      assert.notEqual(session.request.authority, '')
      assert.equal(rig.requests.length, 1)
      assert.notEqual(session.id, '')
    })

    rigTest('headers of the client reach the session', async rig => {
      await rig.connect(PATH, { 'x-viewer': 'Seven' })
      assert.equal((await rig.session()).request.headers['x-viewer'], 'Seven')
    }, { skip: limits.requestHeaders })

    for (const [reason, handshakesPerSecondPerIp] of [['rate-address', 10], ['rate-total', 100]] as const) {
      rigTest(`the 10th handshake in a second is admitted, the 11th is refused for ${reason}: immediately, counted once, and not decided about`, async rig => {
        const limiter = new HandshakeLimiter({ handshakesPerSecond: reason === 'rate-total' ? 10 : 100, handshakesPerSecondPerIp, trackedIps: 100 })
        let asked = 0
        // At a standstill, so that no handshake comes back meanwhile.
        rig.admit = ip => {
          assert.equal(ip.replace('::ffff:', ''), '127.0.0.1')
          asked++
          return limiter.admit(ip, 0)
        }
        for (let handshake = 0; handshake < 10; handshake++) await rig.connect()
        const error: unknown = await rig.connect().then(() => assert.fail('connected'), (reason: unknown) => reason)
        if (limits.limitStatus !== undefined) assert.equal((error as { status?: number }).status, limits.limitStatus)
        await eventually(() => rig.failures.length > 0)
        assert.deepEqual(rig.failures.map(failure => failure.reason), [reason])
        assert.equal(rig.requests.length, 10)
        assert.ok(asked >= 11)
      }, { overrides: { handshakeTimeoutMs: 60_000 }, skip: limits.peer })
    }

    rigTest('a refused session is refused at the client and counted', async rig => {
      rig.decide = () => ({ accept: false, status: 403 })
      const error: unknown = await rig.connect().then(() => assert.fail('connected'), (reason: unknown) => reason)
      if (limits.refusalStatus === undefined) assert.equal((error as { status?: number }).status, 403)
      assert.equal(rig.failures[0]?.reason, 'refused')
    })

    rigTest('an unknown path is refused with 404 without asking the layer above', async rig => {
      const error: unknown = await rig.connect('/v2/other').then(() => assert.fail('connected'), (reason: unknown) => reason)
      if (limits.refusalStatus === undefined) assert.equal((error as { status?: number }).status, 404)
      assert.equal(rig.requests.length, 0)
      assert.equal(rig.failures.length, 1)
    })

    rigTest('a decision that throws refuses the session and the listener lives on', async rig => {
      rig.decide = () => { throw new Error('no luck') }
      await assert.rejects(rig.connect())
      rig.decide = () => ({ accept: true })
      const { client } = await rig.pair()
      assert.equal((await ask(client, Buffer.from('still here'))).toString(), 'still here')
    })

    rigTest('a decision that never comes is refused after the handshake timeout', async rig => {
      rig.decide = () => new Promise(() => {})
      await assert.rejects(rig.connect())
      await eventually(() => rig.failures.some(failure => failure.reason === 'timeout'))
    }, { overrides: { handshakeTimeoutMs: 300 } })

    rigTest('a stream echoes', async rig => {
      const { client } = await rig.pair()
      assert.equal((await ask(client, Buffer.from('hello'))).toString(), 'hello')
    })

    rigTest('a stream without bytes ends with FIN on both sides', async rig => {
      const { client } = await rig.pair()
      assert.equal((await ask(client, new Uint8Array(0))).length, 0)
    })

    rigTest('a written chunk may be reused as soon as write resolves', async rig => {
      const { client } = await rig.pair()
      rig.onStream = stream => {
        const shared = new Uint8Array(50_000)
        const send = async (): Promise<void> => {
          await readAll(stream)
          for (let value = 0; value < 40; value++) await stream.write(shared.fill(value))
          await stream.end()
        }
        send().catch(() => {})
      }
      const answer = await ask(client, Buffer.from('go'))
      assert.equal(answer.length, 40 * 50_000)
      for (let value = 0; value < 40; value++) {
        assert.ok(answer.subarray(value * 50_000, (value + 1) * 50_000).every(byte => byte === value), `chunk ${value} changed`)
      }
    })

    rigTest('8 MB to the viewer arrive with the right digest', async rig => {
      const { client } = await rig.pair()
      const bytes = randomBytes(8 * MB)
      rig.onStream = stream => { readAll(stream).then(() => writeAll(stream, bytes, MB)).catch(() => {}) }
      assert.equal(sha256(await ask(client, Buffer.from('GET'))), sha256(bytes))
    })

    rigTest('8 MB from the viewer arrive with the right digest', async rig => {
      const { client } = await rig.pair()
      const bytes = randomBytes(8 * MB)
      rig.onStream = stream => { readAll(stream).then(body => writeAll(stream, Buffer.from(sha256(body)))).catch(() => {}) }
      assert.equal((await ask(client, bytes)).toString(), sha256(bytes))
    })

    rigTest('64 streams in parallel keep their bytes apart', async rig => {
      const { client, server } = await rig.pair()
      const bodies = Array.from({ length: 64 }, () => randomBytes(100_000))
      const answers = await Promise.all(bodies.map(body => ask(client, body)))
      assert.deepEqual(answers.map(sha256), bodies.map(sha256))
      assert.ok(server.stats().bytesSent >= 6_400_000 && server.stats().bytesReceived >= 6_400_000)
    })

    const streams = limits.concurrentStreams ?? 200
    rigTest(`${streams} streams are open at the same time`, async rig => {
      const { client, server } = await rig.pair()
      const held: BidiStream[] = []
      rig.onStream = stream => { held.push(stream) }
      const open = await Promise.all(Array.from({ length: streams }, async (_, index) => {
        const stream = await client.openBidi()
        await stream.write(Buffer.from([index]))
        return stream
      }))
      await eventually(() => held.length === streams)
      assert.equal(server.stats().openStreams, streams)
      for (const stream of held) echo(stream).catch(() => {})
      const answers = await Promise.all(open.map(async stream => { await stream.end(); return await readAll(stream) }))
      assert.deepEqual(answers.map(answer => answer[0]), open.map((_, index) => index))
    })

    rigTest('a session serves many times its concurrent streams, one after the other', async rig => {
      const { client, server } = await rig.pair()
      for (let index = 0; index < 100; index++) assert.equal((await ask(client, Buffer.from(`n${index}`))).toString(), `n${index}`)
      await eventually(() => server.stats().openStreams === 0)
    }, { overrides: { maxStreamsPerSession: 16 } })

    rigTest('a reset by the server is seen with its code', async rig => {
      const { client } = await rig.pair()
      rig.onStream = stream => {
        stream.read().then(() => stream.write(Buffer.from('partial'))).then(() => { stream.reset(70_000); stream.reset(1) }).catch(() => {})
      }
      const stream = await client.openBidi()
      await stream.write(Buffer.from('go'))
      const error = await rejection(readAll(stream))
      assert.deepEqual([error.kind, error.applicationCode], ['reset', 70_000])
    })

    rigTest('a reset by the viewer is seen with its code', async rig => {
      const { client } = await rig.pair()
      const next = rig.nextStream()
      const stream = await client.openBidi()
      await stream.write(Buffer.from('go'))
      const seen = await next
      let read = 0
      while (read < 2) read += (await seen.read())?.length ?? 2
      stream.reset(42)
      const error = await rejection(readAll(seen))
      assert.deepEqual([error.kind, error.applicationCode], ['reset', 42])
      await seen.write(Buffer.from('the other direction lives on'))
      await seen.end()
    })

    rigTest('STOP_SENDING by the viewer aborts `stopped` and the writes of the server', async rig => {
      const { client } = await rig.pair()
      const next = rig.nextStream()
      const stream = await client.openBidi()
      await stream.write(Buffer.from('go'))
      const seen = await next
      await seen.write(Buffer.from('first'))
      await stream.read()
      stream.cancel(43)
      if (limits.stopNotice === undefined) await aborted(seen.stopped)
      const error = await rejection((async () => { for (;;) await seen.write(randomBytes(1_000)) })())
      assert.ok(seen.stopped.aborted)
      assert.deepEqual([error.kind, error.applicationCode], ['stopped', 43])
    })

    rigTest('STOP_SENDING by the server aborts `stopped` at the viewer', async rig => {
      const { client } = await rig.pair()
      const next = rig.nextStream()
      const stream = await client.openBidi()
      await stream.write(Buffer.from('go'))
      const seen = await next
      seen.cancel(44)
      seen.cancel(45)
      if (limits.stopNotice === undefined) await aborted(stream.stopped)
      await seen.write(Buffer.from('answered early'))
      await seen.end()
      assert.equal((await readAll(stream)).toString(), 'answered early')
    })

    rigTest('a viewer that does not read stops the writer of the server, and reading lets it go on', async rig => {
      const { client } = await rig.pair()
      const next = rig.nextStream()
      const stream = await client.openBidi()
      await stream.write(Buffer.from('go'))
      const seen = await next
      const resume = client.stall?.()
      const state = { written: 0, held: true }
      const writing = writeUntilStopped(seen, state)
      const stopped = await quiescent(() => state.written)
      assert.ok(stopped < BACKPRESSURE_BOUND, `the writer was never held back: ${stopped} bytes`)
      state.held = false
      resume?.()
      const received = await readAll(stream)
      await writing
      assert.equal(received.length, state.written)
    })

    rigTest('a server that does not read stops the writer of the viewer', async rig => {
      const { client } = await rig.pair()
      const next = rig.nextStream()
      const stream = await client.openBidi()
      await stream.write(Buffer.from('go'))
      const seen = await next
      const state = { written: 2, held: true }
      const writing = writeUntilStopped(stream, state)
      const stopped = await quiescent(() => state.written)
      assert.ok(stopped < BACKPRESSURE_BOUND, `the writer was never held back: ${stopped} bytes`)
      state.held = false
      assert.equal((await readAll(seen)).length, state.written)
      await writing
    })

    rigTest('a stalled stream does not hold up the others', async rig => {
      const { client } = await rig.pair()
      const next = rig.nextStream()
      const stalled = await client.openBidi()
      await stalled.write(Buffer.from('go'))
      const state = { written: 0, held: true }
      const writing = writeUntilStopped(await next, state).catch(() => {})
      await quiescent(() => state.written)
      rig.onStream = stream => { echo(stream).catch(() => {}) }
      assert.equal((await ask(client, Buffer.from('me too'))).toString(), 'me too')
      state.held = false
      stalled.cancel(0)
      await writing
    })

    rigTest('the server opens a unidirectional stream', async rig => {
      const { client, server } = await rig.pair()
      const incoming = new Promise<ReceiveStream>(resolve => { client.onUni = resolve })
      const stream = await server.openUni()
      await stream.write(Buffer.from('{"type":"hello"}\n'))
      await stream.end()
      assert.equal((await readAll(await incoming)).toString(), '{"type":"hello"}\n')
    })

    rigTest('unidirectional streams of the viewer are cancelled while nobody listens, and read when somebody does', async rig => {
      const { client, server } = await rig.pair()
      const unwanted = await client.openUni()
      await unwanted.write(Buffer.from('x')).catch(() => {})
      if (limits.stopNotice === undefined) await aborted(unwanted.stopped)
      else assert.equal((await rejection((async () => { for (;;) await unwanted.write(Buffer.from('x')) })())).kind, 'stopped')
      const incoming = new Promise<ReceiveStream>(resolve => { server.onUni = resolve })
      const wanted = await client.openUni()
      await wanted.write(Buffer.from('report'))
      await wanted.end()
      assert.equal((await readAll(await incoming)).toString(), 'report')
    })

    rigTest('the server closes with code and reason; streams in flight end', async rig => {
      const { client, server } = await rig.pair()
      const next = rig.nextStream()
      const stream = await client.openBidi()
      await stream.write(Buffer.from('go'))
      const seen = await next
      const pending = rejection((async () => { await readAll(seen) })())
      server.close(4_242, 'going away, grüße')
      server.close(1, 'twice')
      assert.deepEqual(await server.closed, { code: 4_242, reason: 'going away, grüße', clean: true })
      const close = await client.closed
      assert.deepEqual([close.code, close.reason, close.clean], [4_242, 'going away, grüße', true])
      assert.equal((await pending).kind, 'session-closed')
      assert.ok(seen.stopped.aborted)
      assert.equal((await rejection(seen.write(Buffer.from('late')))).kind, 'session-closed')
      await assert.rejects(server.openUni())
      await assert.rejects(readAll(stream))
    })

    rigTest('the viewer closes with code and reason', async rig => {
      const { client, server } = await rig.pair()
      client.close(77, 'bye')
      assert.deepEqual(await server.closed, { code: 77, reason: 'bye', clean: true })
    })

    rigTest('a lost connection ends the session, not clean', async rig => {
      const { client, server } = await rig.pair()
      const next = rig.nextStream()
      const stream = await client.openBidi()
      await stream.write(Buffer.from('go'))
      const seen = await next
      client.lose?.()
      assert.equal((await server.closed).clean, false)
      assert.ok(seen.stopped.aborted)
      await eventually(() => Object.values(rig.listener.sizes()).every(size => size === 0))
    }, { skip: limits.loss })

    rigTest('sessions beyond maxSessions are refused and counted; a place that is freed is given again', async rig => {
      const first = await rig.pair()
      await rig.pair()
      const error: unknown = await rig.connect().then(() => assert.fail('connected'), (reason: unknown) => reason)
      if (limits.refusalStatus === undefined) assert.equal((error as { status?: number }).status, 503)
      assert.deepEqual(rig.failures.map(failure => failure.reason), ['limit'])
      first.client.close()
      await first.server.closed
      await rig.pair()
    }, { overrides: { maxSessions: 2 } })

    rigTest('a viewer never has more than maxStreamsPerSession streams open', async rig => {
      const { client, server } = await rig.pair()
      let open = 0
      let most = 0
      const held: BidiStream[] = []
      rig.onStream = stream => {
        open += 1
        most = Math.max(most, open, server.stats().openStreams)
        held.push(stream)
      }
      const results = Array.from({ length: 12 }, async () => {
        const stream = await client.openBidi()
        await stream.write(Buffer.from('x'))
        await stream.end()
        return await readAll(stream)
      })
      const settled = Promise.allSettled(results)
      await eventually(() => held.length >= 4)
      let served = 0
      const serve = (async () => {
        for (;;) {
          const stream = held.shift()
          if (stream === undefined) {
            if (await Promise.race([settled.then(() => true), delay(5).then(() => false)])) return
            continue
          }
          await readAll(stream)
          open -= 1
          served += 1
          await stream.end()
        }
      })()
      await serve
      assert.ok(most <= 4, `${most} streams were open at the same time`)
      assert.ok(served >= 4)
      const outcomes = await settled
      assert.ok(outcomes.filter(outcome => outcome.status === 'fulfilled').length >= 4)
    }, { overrides: { maxStreamsPerSession: 4 } })

    rigTest('a new certificate serves new handshakes and leaves sessions alone', async rig => {
      const { client } = await rig.pair()
      const renewed = createSelfSigned([], Date.now())
      rig.listener.setTls?.(renewed)
      assert.equal((await ask(client, Buffer.from('old session'))).toString(), 'old session')
      await assert.rejects(rig.connect(), 'the old certificate is still served')
      rig.cert = renewed.cert
      const fresh = await rig.connect()
      assert.equal((await ask(fresh, Buffer.from('new session'))).toString(), 'new session')
      assert.equal((await ask(client, Buffer.from('old again'))).toString(), 'old again')
    }, { skip: limits.setTls })

    rigTest('a bad certificate given to setTls is logged and changes nothing', async rig => {
      rig.listener.setTls?.({ cert: 'nonsense', key: 'nonsense' })
      assert.ok(rig.logs.some(line => line.startsWith('error:')))
      await rig.pair()
    }, { skip: limits.setTls })

    rigTest('close() ends sessions, frees the port, is idempotent and quick', async rig => {
      const { client, server } = await rig.pair()
      const started = performance.now()
      await Promise.all([rig.listener.close(), rig.listener.close()])
      await rig.listener.close()
      assert.ok(performance.now() - started < 1_500)
      await Promise.all([server.closed, client.closed])
      await assert.rejects(rig.connect())
      const again = await Rig.start(subject, { port: rig.listener.port })
      await again.pair()
      await again.stop()
    })

    rigTest('sizes() are back to zero after every session is over', async rig => {
      assert.ok(Object.values(rig.listener.sizes()).every(size => size === 0))
      const pairs = []
      for (let index = 0; index < 8; index++) pairs.push(await rig.pair())
      await Promise.all(pairs.map(async ({ client }) => { await Promise.all(Array.from({ length: 10 }, () => ask(client, randomBytes(10_000)))) }))
      const held = await pairs[0]?.client.openBidi()
      await held?.write(Buffer.from('in flight'))
      assert.ok(Object.values(rig.listener.sizes()).some(size => size > 0))
      pairs.forEach(({ client, server }, index) => { if (index % 2 === 0) client.close(); else server.close() })
      await Promise.all(pairs.map(({ server }) => server.closed))
      await eventually(() => Object.values(rig.listener.sizes()).every(size => size === 0))
    })

    test('a certificate that cannot be used fails listen, in time', { timeout: 240_000, skip: subject.transportName === 'memory' }, async () => {
      await assert.rejects(Rig.start(subject, { tls: { cert: contractTls.cert, key: createSelfSigned([], Date.now()).key } }))
    })

    test('a taken port fails listen', { timeout: 240_000, skip: subject.transportName === 'memory' }, async () => {
      const rig = await Rig.start(subject)
      try {
        await assert.rejects(Rig.start(subject, { port: rig.listener.port }))
      } finally {
        await rig.stop()
      }
    })

    test('no promise was left to reject unhandled', () => { assert.deepEqual(rejections, []) })
  })
}
