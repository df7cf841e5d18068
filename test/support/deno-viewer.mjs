// A viewer in Deno, with nothing but its WebTransport: the hello line of the control stream, and a shard over a raw stream. One line of JSON on standard output.
/* global Deno, WebTransport */
const [relay, path] = Deno.args
const { webtransport } = await (await fetch(`${relay}/v1/transport`)).json()
const serverCertificateHashes = webtransport.certificateHashes.map(({ algorithm, value }) => ({ algorithm, value: Uint8Array.from(atob(value), char => char.charCodeAt(0)) }))
const session = new WebTransport(webtransport.url, { serverCertificateHashes })
await session.ready

const { value: control } = await session.incomingUnidirectionalStreams.getReader().read()
const lines = control.pipeThrough(new TextDecoderStream()).getReader()
let text = ''
while (!text.includes('\n')) text += (await lines.read()).value
const hello = JSON.parse(text.slice(0, text.indexOf('\n')))

const stream = await session.createBidirectionalStream()
const writer = stream.writable.getWriter()
await writer.write(new TextEncoder().encode(`GET ${path} HTTP/1.1\r\n\r\n`))
await writer.close()
const all = new Uint8Array(await new Response(stream.readable).arrayBuffer())
const head = new TextDecoder('latin1').decode(all.subarray(0, 16_384))
const end = head.indexOf('\r\n\r\n') + 4
const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', all.subarray(end)))
console.log(JSON.stringify({ hello, status: Number(head.split(' ')[1]), bytes: all.length - end, sha256: Array.from(digest, byte => byte.toString(16).padStart(2, '0')).join('') }))
session.close({ closeCode: 0, reason: 'done' })
Deno.exit(0)
