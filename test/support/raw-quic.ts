/** QUIC without any HTTP/3 above it, for sending what no well-behaved client sends. */
import { randomBytes } from 'node:crypto'
import { createSocket, type Socket } from 'node:dgram'
import { once } from 'node:events'
import { loadQuiche, type QuicheConfig, type QuicheConnection } from '../../src/gateway/transports/http3/quiche-binding.ts'
import { clientConfig } from '../../src/gateway/transports/http3/quiche-config.ts'

const PACKET = 1350
const LOCAL = { host: '127.0.0.1', port: 1 }

let shared: QuicheConfig | undefined

async function config (): Promise<QuicheConfig> {
  shared ??= clientConfig(await loadQuiche(), undefined, { idleTimeoutMs: 5_000, maxStreamsBidi: 16, congestionControl: 'cubic' })
  return shared
}

/** The first packets of handshakes that go no further. */
export async function initialPackets (count: number): Promise<Buffer[]> {
  const { Connection } = await loadQuiche()
  const settings = await config()
  return Array.from({ length: count }, () => {
    const out = Buffer.alloc(PACKET)
    const sent = Connection.connect(null, randomBytes(16), LOCAL, LOCAL, settings).send(out)
    return out.subarray(0, sent?.[0] ?? 0)
  })
}

/** One connection and its socket; whoever made it closes it. */
export class RawQuic {
  readonly #conn: QuicheConnection
  readonly #socket: Socket
  readonly #port: number
  readonly #out = Buffer.alloc(PACKET)
  #wake = (): void => {}
  #timer: NodeJS.Timeout | undefined

  private constructor (conn: QuicheConnection, socket: Socket, port: number) {
    this.#conn = conn
    this.#socket = socket
    this.#port = port
    socket.on('message', packet => {
      try {
        this.#conn.recv(packet, { from: { host: '127.0.0.1', port }, to: LOCAL })
      } catch {
        // The server has ended the connection, which is what some of these provoke.
      }
      this.#flush()
      this.#wake()
    })
  }

  /** @throws Error when there is no connection within two seconds */
  static async connect (port: number): Promise<RawQuic> {
    const { Connection } = await loadQuiche()
    const socket = createSocket('udp4')
    socket.bind(0, '127.0.0.1')
    await once(socket, 'listening')
    const raw = new RawQuic(Connection.connect(null, randomBytes(16), LOCAL, { host: '127.0.0.1', port }, await config()), socket, port)
    raw.#flush()
    const end = Date.now() + 2_000
    while (!raw.#conn.isEstablished()) {
      if (Date.now() > end) {
        raw.close()
        throw new Error('no connection')
      }
      await new Promise<void>(resolve => {
        raw.#wake = resolve
        setTimeout(resolve, 50)
      })
      raw.#onTime()
    }
    return raw
  }

  /** Bytes of a stream, as far as the server's window goes. */
  send (streamId: number, bytes: Uint8Array, fin: boolean): void {
    try {
      this.#conn.streamSend(streamId, bytes, fin)
    } catch {
      // As above.
    }
    this.#flush()
  }

  close (): void {
    try {
      this.#conn.close(true, 0, Buffer.alloc(0))
    } catch {
      // It is closed already.
    }
    this.#flush()
    clearTimeout(this.#timer)
    this.#socket.close()
  }

  #onTime (): void {
    if (this.#conn.timeout() === 0) this.#conn.onTimeout()
    this.#flush()
  }

  #flush (): void {
    for (;;) {
      let sent: ReturnType<QuicheConnection['send']>
      try {
        sent = this.#conn.send(this.#out)
      } catch {
        return
      }
      if (sent === null) break
      this.#socket.send(Buffer.from(this.#out.subarray(0, sent[0])), this.#port, '127.0.0.1')
    }
    clearTimeout(this.#timer)
    const wait = this.#conn.timeout()
    if (wait !== null) this.#timer = setTimeout(() => { this.#onTime() }, wait + 1).unref()
  }
}
