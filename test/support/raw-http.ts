import { connect } from 'node:net'

export interface RawResponse {
  readonly status: number
  /** Lower-case names; the last of repeated fields. */
  readonly headers: Readonly<Record<string, string>>
  readonly body: Buffer
  /** Whether the body ended as its content-length says. */
  readonly complete: boolean
  /** Whether the peer closed the connection. */
  readonly closed: boolean
}

/** The first response in `received`; undefined while its head is not complete. */
function parse (received: Buffer, closed: boolean): RawResponse | undefined {
  const end = received.indexOf('\r\n\r\n')
  if (end < 0) return undefined
  const [statusLine = '', ...fields] = received.toString('latin1', 0, end).split('\r\n')
  const headers = Object.fromEntries(fields.map(field => {
    const colon = field.indexOf(':')
    return [field.slice(0, colon).toLowerCase(), field.slice(colon + 1).trim()]
  }))
  const body = received.subarray(end + 4)
  const length = Number(headers['content-length'] ?? NaN)
  return { status: Number(statusLine.split(' ')[1]), headers, body, complete: body.length === length, closed }
}

/**
 * Sends bytes over a bare socket and reads one response: until its content-length is there or the peer closes. Undefined when the
 * peer closes without an answer.
 */
export async function exchange (url: string, bytes: string | Buffer): Promise<RawResponse | undefined> {
  const { hostname, port } = new URL(url)
  const socket = connect(Number(port), hostname)
  const pieces: Buffer[] = []
  socket.on('error', () => {})
  socket.write(bytes)
  const answer = await new Promise<RawResponse | undefined>(resolve => {
    socket.on('data', piece => {
      pieces.push(piece)
      const response = parse(Buffer.concat(pieces), false)
      if (response?.complete === true) resolve(response)
    })
    socket.once('close', () => { resolve(parse(Buffer.concat(pieces), true)) })
  })
  socket.destroy()
  return answer
}

/** A request head in the form a client sends it; `target` stands in the request line byte for byte. */
export function head (method: string, target: string, headers: Readonly<Record<string, string>> = {}): string {
  const fields = Object.entries({ host: 'localhost', ...headers }).map(([name, value]) => `${name}: ${value}\r\n`)
  return `${method} ${target} HTTP/1.1\r\n${fields.join('')}\r\n`
}
