/** The Node side of WebTransport over HTTP/3. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { rootCertificates } from 'node:tls'
import type { TransportSession } from '../../src/protocol/transport-session.ts'
import type { NapiBinding, NapiClient } from '../../src/quinn/binding.ts'
import { messageOf } from '../../src/quinn/failure.ts'
import { QuinnSession } from '../../src/quinn/session.ts'

export interface ConnectOptions {
  /** SHA-256 of the DER certificates that are accepted, whoever issued them; without any, an authority has to vouch for the server. */
  readonly certificateHashes?: ReadonlyArray<Uint8Array>
  /** PEM of authorities to trust besides those of Node and of `NODE_EXTRA_CA_CERTS`. */
  readonly ca?: string
  readonly signal?: AbortSignal
  /** Until the session is open, milliseconds; 5000 by default. */
  readonly timeoutMs?: number
  /** Called in the turn the session opens, before anything that came with it is handed out. */
  readonly opened?: (session: TransportSession) => void
}

/** The server does not let us in: wrong certificate, a refusal, no answer. The engine does not tell the HTTP status of a refusal. */
export class ConnectError extends Error {
  override readonly name = 'ConnectError'
}

/** Trust anchors known at the same time; each has a UDP socket of its own, which its sessions share. */
const MAX_CLIENTS = 16

let serial = 0
const clients = new Map<string, NapiClient>()

/**
 * Opens a WebTransport session to an `https:` URL.
 * @throws ConnectError when the server refuses or does not answer; the signal's reason
 */
export async function connectQuinn (binding: NapiBinding, url: string | URL, options: ConnectOptions = {}): Promise<TransportSession> {
  const target = new URL(url)
  if (target.protocol !== 'https:') throw new ConnectError('the URL must be https:')
  const { signal, timeoutMs = 5_000 } = options
  signal?.throwIfAborted()
  const opening = clientFor(binding, options).connect(target.href)
  let stop = (): void => {}
  const stopped = new Promise<never>((_resolve, reject) => {
    const timer = setTimeout(() => { reject(new ConnectError(`no answer within ${timeoutMs} ms`)) }, timeoutMs)
    const abort = (): void => { reject(signal?.reason as Error) }
    signal?.addEventListener('abort', abort, { once: true })
    stop = () => { clearTimeout(timer); signal?.removeEventListener('abort', abort) }
  })
  try {
    const native = await Promise.race([opening.catch((error: unknown) => { throw new ConnectError(messageOf(error), { cause: error }) }), stopped])
    const request = { path: target.pathname + target.search, authority: target.host, headers: {}, peer: undefined }
    const session = new QuinnSession(native, { id: `client-${++serial}`, request, maxStreams: 0 })
    options.opened?.(session)
    session.start()
    return session
  } catch (error) {
    opening.then(late => { late.close(0, '') }, () => {})
    throw error
  } finally {
    stop()
  }
}

function clientFor (binding: NapiBinding, { certificateHashes = [], ca = '' }: ConnectOptions): NapiClient {
  const hashes = Array.from(certificateHashes, hash => Buffer.from(hash))
  const key = hashes.length > 0 ? hashes.map(hash => hash.toString('hex')).sort().join() : `ca ${ca}`
  const known = clients.get(key)
  if (known !== undefined) return known
  const client = hashes.length > 0 ? binding.NapiClient.withCertificateHashes(hashes) : withAuthorities(binding, ca)
  const [oldest] = clients.keys()
  if (clients.size >= MAX_CLIENTS && oldest !== undefined) clients.delete(oldest)
  clients.set(key, client)
  return client
}

/** The engine reads the system's authorities as rustls-native-certs does: from the file `SSL_CERT_FILE` names, which is how it gets ours. */
function withAuthorities (binding: NapiBinding, ca: string): NapiClient {
  const { NODE_EXTRA_CA_CERTS: extra, SSL_CERT_FILE: before } = process.env
  const directory = mkdtempSync(join(tmpdir(), 'icn-relay-ca-'))
  try {
    const file = join(directory, 'ca.pem')
    writeFileSync(file, [...rootCertificates, extra === undefined ? '' : readFileSync(extra, 'utf8'), ca].join('\n'), { mode: 0o600 })
    process.env['SSL_CERT_FILE'] = file
    return binding.NapiClient.withSystemRoots()
  } finally {
    if (before === undefined) delete process.env['SSL_CERT_FILE']
    else process.env['SSL_CERT_FILE'] = before
    rmSync(directory, { recursive: true, force: true })
  }
}
