// Runs in a page of Chromium, put there by browser.ts: downloads shards over fetch, WebTransport or WebSocket and counts what comes.

const hex = bytes => Array.from(new Uint8Array(bytes), byte => byte.toString(16).padStart(2, '0')).join('')

async function overFetch (path, onBody) {
  const url = new URL(path, location.origin).href
  const response = await fetch(url, { cache: 'no-store' })
  if (response.status !== 200) throw new Error(`${path}: ${response.status}`)
  const reader = response.body.getReader()
  for (let next = await reader.read(); !next.done; next = await reader.read()) onBody(next.value)
}

const pause = milliseconds => new Promise(resolve => { setTimeout(resolve, milliseconds) })

// Where the standard would wait for the relay to allow more streams, Chromium and the ponyfill reject.
async function openStream (session) {
  for (let attempt = 1; ; attempt++) {
    try {
      return await session.createBidirectionalStream()
    } catch (error) {
      if (attempt === 100) throw error
      await pause(10)
    }
  }
}

async function overSession (session, path, onBody) {
  const stream = await openStream(session)
  const writer = stream.writable.getWriter()
  await writer.write(new TextEncoder().encode(`GET ${path} HTTP/1.1\r\n\r\n`))
  await writer.close()
  const reader = stream.readable.getReader()
  let head = new Uint8Array(0)
  let length
  let bytes = 0
  for (let next = await reader.read(); !next.done; next = await reader.read()) {
    let body = next.value
    if (length === undefined) {
      const joined = new Uint8Array(head.length + body.length)
      joined.set(head)
      joined.set(body, head.length)
      head = joined
      const text = new TextDecoder('latin1').decode(head)
      const end = text.indexOf('\r\n\r\n')
      if (end < 0) continue
      if (!text.startsWith('HTTP/1.1 200 ')) throw new Error(text.slice(0, 200))
      length = Number(/^content-length: *(\d+)/im.exec(text)?.[1])
      body = head.subarray(end + 4)
    }
    bytes += body.length
    onBody(body)
  }
  if (bytes !== length) throw new Error(`${path}: ${bytes} of ${length} bytes`)
}

async function openSession (transport) {
  // Its URL may carry a ticket, which is good for one session.
  const offer = await (await fetch('/v1/transport', { cache: 'no-store' })).json()
  const { url, certificateHashes } = offer[transport]
  if (transport === 'websocket') {
    const { WebTransportPonyfill } = await import('/player/client/websocket.js')
    const session = new WebTransportPonyfill(url.replace(/^wss:/, 'https:'), { forceReliable: true, initialStreamFlowControlWindow: 1_048_576, initialSessionFlowControlWindow: 8_388_608, initialBidirectionalSendStreams: 1, initialUnidirectionalSendStreams: 16 })
    await session.ready
    return session
  }
  const serverCertificateHashes = certificateHashes.map(({ value }) => ({ algorithm: 'sha-256', value: Uint8Array.from(atob(value), char => char.charCodeAt(0)) }))
  const session = new globalThis.WebTransport(url, serverCertificateHashes.length === 0 ? {} : { serverCertificateHashes })
  await session.ready
  return session
}

async function withGet (transport, use) {
  if (transport === 'fetch') return await use(overFetch)
  const session = await openSession(transport)
  try {
    return await use((path, onBody) => overSession(session, path, onBody))
  } finally {
    session.close()
  }
}

// SHA-256 of one shard, and the protocol a fetch took.
globalThis.compareDigest = async (transport, path) => await withGet(transport, async get => {
  const pieces = []
  await get(path, piece => { pieces.push(piece.slice()) })
  const digest = hex(await crypto.subtle.digest('SHA-256', await new Blob(pieces).arrayBuffer()))
  return { digest, protocol: performance.getEntriesByName(new URL(path, location.origin).href).at(-1)?.nextHopProtocol ?? '' }
})

// Some downloads at the same time, each followed by the next, until the time is over.
globalThis.compareDownload = async (transport, { paths, parallel, milliseconds }) => await withGet(transport, async get => {
  performance.clearResourceTimings()
  const firstByteMs = []
  const wholeMs = []
  let bytes = 0
  let turn = 0
  const start = performance.now()
  await Promise.all(Array.from({ length: parallel }, async () => {
    while (performance.now() - start < milliseconds) {
      const asked = performance.now()
      let first
      await get(paths[turn++ % paths.length], piece => {
        first ??= performance.now() - asked
        bytes += piece.length
      })
      firstByteMs.push(first)
      wholeMs.push(performance.now() - asked)
    }
  }))
  return { bytes, seconds: (performance.now() - start) / 1000, firstByteMs, wholeMs }
})
