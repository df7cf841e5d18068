/** A page without any library of ours, which speaks the wire contract by itself: what it runs, and what it tells. */
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { TestContext } from 'node:test'

/** Runs in the page; text, because Node has no types for it. */
const SCRIPT = `
const hex = bytes => Array.from(new Uint8Array(bytes), byte => byte.toString(16).padStart(2, '0')).join('')
globalThis.digest = async bytes => hex(await crypto.subtle.digest('SHA-256', bytes))
globalThis.discover = async relay => (await (await fetch(relay + '/v1/transport')).json()).webtransport
globalThis.connect = async webtransport => {
  const serverCertificateHashes = webtransport.certificateHashes.map(({ algorithm, value }) => ({ algorithm, value: Uint8Array.from(atob(value), char => char.charCodeAt(0)) }))
  const session = new WebTransport(webtransport.url, { serverCertificateHashes })
  await session.ready
  return session
}
globalThis.send = async (session, path, fields = {}) => {
  const stream = await session.createBidirectionalStream()
  const writer = stream.writable.getWriter()
  const head = ['GET ' + path + ' HTTP/1.1', ...Object.entries(fields).map(([name, value]) => name + ': ' + value), '', ''].join('\\r\\n')
  return { stream, writer, head: new TextEncoder().encode(head) }
}
globalThis.open = async (session, path, fields) => {
  const { stream, writer, head } = await send(session, path, fields)
  // A page that gives up its session closes no more streams: what counts is the answer.
  writer.write(head).then(() => writer.close()).catch(() => {})
  return stream.readable.getReader()
}
// Head and body apart; an error in the middle is part of the answer.
globalThis.ask = async (session, path, fields) => {
  const reader = await open(session, path, fields)
  const chunks = []
  let error
  try {
    for (let next = await reader.read(); !next.done; next = await reader.read()) chunks.push(next.value)
  } catch (thrown) {
    error = { name: thrown.name, source: thrown.source, code: thrown.streamErrorCode ?? undefined }
  }
  const all = new Uint8Array(await new Blob(chunks).arrayBuffer())
  const text = new TextDecoder('latin1').decode(all.subarray(0, 16384))
  const end = text.indexOf('\\r\\n\\r\\n')
  const [start = '', ...lines] = text.slice(0, Math.max(end, 0)).split('\\r\\n')
  const headers = Object.fromEntries(lines.map(line => [line.slice(0, line.indexOf(':')).toLowerCase(), line.slice(line.indexOf(':') + 1).trim()]))
  const body = all.subarray(end + 4)
  return { status: Number(start.split(' ')[1]), headers, bytes: body.length, sha256: await digest(body), text: body.length < 2000 ? new TextDecoder().decode(body) : '', error }
}
// Control messages of a session, as they come.
globalThis.listen = session => {
  const messages = []
  const read = async () => {
    const { value: stream } = await session.incomingUnidirectionalStreams.getReader().read()
    const reader = stream.pipeThrough(new TextDecoderStream()).getReader()
    let rest = ''
    for (let next = await reader.read(); !next.done; next = await reader.read()) {
      const lines = (rest + next.value).split('\\n')
      rest = lines.pop()
      for (const line of lines) messages.push(JSON.parse(line))
    }
  }
  read().catch(() => {})
  return messages
}
`

/** What `ask` gives. */
export interface Answer {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly bytes: number
  readonly sha256: string
  /** The body, when it is short. */
  readonly text: string
  /** How the stream ended, when it did not end with FIN. */
  readonly error?: { readonly name: string, readonly source?: string, readonly code?: number }
}

/** A page of another origin than the relay, as a site that embeds video would be: its URL. It has the script's functions. */
export async function openSite (t: Pick<TestContext, 'after'>): Promise<string> {
  const site = createServer((_request, response) => {
    response.setHeader('content-type', 'text/html').end(`<!doctype html><title>site</title><script>${SCRIPT}</script>`)
  }).listen(0, '127.0.0.1')
  t.after(() => { site.close() })
  await once(site, 'listening')
  return `http://127.0.0.1:${(site.address() as AddressInfo).port}/`
}

/** The path of a shard. */
export function shard (cid: string, index: number): string {
  return `/shards/${cid}/shard_${String(index).padStart(2, '0')}.bin`
}
