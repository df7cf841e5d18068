/** What tests of the quinn engine share: a certificate, a listener that answers, sessions to it and to relays. */
import { X509Certificate, createHash } from 'node:crypto'
import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import type { TlsMaterial } from '../../src/channel/tls-material.ts'
import { connectQuinn, type ConnectOptions } from '../../client/src/node-quinn.ts'
import { quinnTransport } from '../../src/gateway/transports/quinn/server.ts'
import type { HandshakeFailure } from '../../src/channel/gateway-counters.ts'
import type { ListenerEvents, ListenerOptions, TransportListener } from '../../src/gateway/transports/viewer-transport.ts'
import type { BidiStream, ReceiveStream, TransportSession } from '../../src/protocol/transport-session.ts'
import { quinnBinding } from './quinn.ts'
import type { RunningRelay } from './relay.ts'
import { transportOffer } from './transport-offer.ts'

export interface TestCertificate extends TlsMaterial {
  /** SHA-256 of the DER form. */
  readonly hash: Buffer
}

/** Self-signed ECDSA P-256 for localhost and 127.0.0.1, 12 days: what browsers take by hash. */
export function makeCertificate (): TestCertificate {
  const folder = mkdtempSync(join(tmpdir(), 'icn-cert-'))
  try {
    const keyFile = join(folder, 'key.pem')
    const certFile = join(folder, 'cert.pem')
    execFileSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-days', '12', '-nodes', '-keyout', keyFile, '-out', certFile,
      '-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1'], { stdio: 'ignore' })
    const cert = readFileSync(certFile, 'utf8')
    return { cert, key: readFileSync(keyFile, 'utf8'), hash: createHash('sha256').update(new X509Certificate(cert).raw).digest() }
  } finally {
    rmSync(folder, { recursive: true })
  }
}

export const certificate = makeCertificate()

export interface TestListener {
  readonly listener: TransportListener
  readonly url: string
  readonly sessions: TransportSession[]
  readonly failures: Array<{ reason: HandshakeFailure, detail: string }>
}

/** Starts a listener on a free port of 127.0.0.1; closed when the test ends. */
export async function startListener (t: TestContext, onSession: (session: TransportSession) => void, overrides: Partial<ListenerOptions> = {}, events: Partial<ListenerEvents> = {}): Promise<TestListener> {
  const sessions: TransportSession[] = []
  const failures: TestListener['failures'] = []
  const listener = await quinnTransport(quinnBinding).listen({
    host: '127.0.0.1',
    port: 0,
    tls: certificate,
    path: '/v1/viewer',
    maxSessions: 100,
    maxStreamsPerSession: 256,
    handshakeTimeoutMs: 2000,
    idleTimeoutMs: 10_000,
    ...overrides
  }, {
    decide: () => ({ accept: true }),
    session: session => {
      sessions.push(session)
      onSession(session)
    },
    handshakeFailed: (reason, detail) => { failures.push({ reason, detail }) },
    log: () => {},
    ...events
  })
  t.after(() => listener.close())
  return { listener, url: `https://127.0.0.1:${listener.port}/v1/viewer`, sessions, failures }
}

export interface SessionOptions extends Pick<ConnectOptions, 'timeoutMs' | 'opened'> {
  /** More of the query, such as `token=…`. */
  readonly query?: string
  /** Path instead of the one the relay offers. */
  readonly path?: string
  /** Port instead of the one the relay offers, such as that of a proxy before it. */
  readonly port?: number
}

/** Opens a session to a relay with a ticket of its own. @throws ConnectError when it is refused */
export async function openSession (viewerUrl: string, { query, path, port, ...options }: SessionOptions = {}): Promise<TransportSession> {
  const { webtransport: { url, certificateHashes } } = await transportOffer(viewerUrl)
  const target = new URL(url)
  if (query !== undefined) target.search += `${target.search === '' ? '?' : '&'}${query}`
  if (path !== undefined) target.pathname = path
  if (port !== undefined) target.port = String(port)
  return await connectQuinn(quinnBinding(), target, { certificateHashes: certificateHashes.map(({ value }) => Buffer.from(value, 'base64')), timeoutMs: 30_000, ...options })
}

/** As {@link openSession}, at the gateway of a relay in this process, also while that is not offered. */
export async function openGatewaySession ({ admin: { certificates, viewers } }: RunningRelay['relay'], { query, path = '/v1/viewer', ...options }: SessionOptions = {}): Promise<TransportSession> {
  const issued = viewers.tickets?.issue('127.0.0.1')
  const ticket = issued !== undefined && 'ticket' in issued ? `ticket=${issued.ticket}` : undefined
  const url = `https://127.0.0.1:${viewers.supervisor?.listening?.open.webtransport?.port ?? 0}${path}?${[ticket, query].filter(part => part !== undefined).join('&')}`
  return await connectQuinn(quinnBinding(), url, { certificateHashes: certificates.hashes().map(({ value }) => Buffer.from(value, 'base64')), timeoutMs: 30_000, ...options })
}

/** Everything up to FIN. */
export async function readAll (stream: Pick<ReceiveStream, 'read'>): Promise<Buffer> {
  const chunks: Uint8Array[] = []
  for (let chunk = await stream.read(); chunk !== null; chunk = await stream.read()) chunks.push(chunk)
  return Buffer.concat(chunks)
}

/** Bytes that depend on their position and `seed`, so that a byte out of place is found. */
export function pattern (length: number, seed = 1): Buffer {
  const out = Buffer.allocUnsafe(length)
  let state = seed >>> 0
  for (let at = 0; at < length; at++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    out[at] = state >>> 24
  }
  return out
}

/** Answers `GET <bytes>` lines with that many bytes of `pattern`, in 64 KiB writes, as the gateway does. */
export function serveBytes (body: Buffer): (session: TransportSession) => void {
  return session => {
    session.onStream = stream => { answer(stream, body).catch(() => { stream.reset(1) }) }
  }
}

async function answer (stream: BidiStream, body: Buffer): Promise<void> {
  let head = ''
  while (!head.includes('\n')) {
    const chunk = await stream.read()
    if (chunk === null) break
    head += Buffer.from(chunk).toString('latin1')
  }
  const wanted = Number(/^GET (\d+)/.exec(head)?.[1] ?? 0)
  for (let at = 0; at < wanted; at += 65_536) await stream.write(body.subarray(at, Math.min(wanted, at + 65_536)))
  await stream.end()
}
