import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import type { TestContext } from 'node:test'
import { createServer as createTlsServer } from 'node:tls'
import { Worker } from 'node:worker_threads'
import type { TlsMaterial } from '../../src/channel/tls-material.ts'

export type After = Pick<TestContext, 'after'>

/** Listens on a free loopback port; every socket ends with the server, and that with the test or before. */
async function listen (t: After, server: Server): Promise<{ port: number, close: () => Promise<void> }> {
  const open = new Set<Socket>()
  server.on('connection', (socket: Socket) => {
    open.add(socket)
    socket.on('error', () => {}).once('close', () => { open.delete(socket) })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const close = async (): Promise<void> => {
    if (!server.listening) return
    server.close()
    for (const socket of open) socket.destroy()
    await once(server, 'close')
  }
  t.after(close)
  return { port: (server.address() as AddressInfo).port, close }
}

/** Passes bytes on in order, each chunk `delayMs()` after it came. */
function passLate (from: Socket, to: Socket, delayMs: () => number): void {
  let queue = Promise.resolve()
  const later = (act: () => void): void => {
    const due = new Promise(resolve => { setTimeout(resolve, delayMs()) })
    queue = queue.then(async () => { await due }).then(act)
  }
  from.on('data', chunk => { later(() => { to.write(chunk) }) })
  from.on('end', () => { later(() => { to.end() }) })
  from.once('close', () => { later(() => { to.destroy() }) })
}

export interface DistantOrigin {
  readonly url: string
  /** Latency of the path from now on, ms. */
  setDelay (ms: number): void
  close (): Promise<void>
}

/** The origin at `httpPort` behind TLS and behind a path: whatever it says arrives late, so that a TLS handshake takes that much longer. */
export async function distantOrigin (t: After, httpPort: number, tls: TlsMaterial, ms: number): Promise<DistantOrigin> {
  const secure = createTlsServer(tls, socket => {
    const inner = connect(httpPort, '127.0.0.1')
    inner.on('error', () => { socket.destroy() })
    socket.on('error', () => { inner.destroy() })
    socket.pipe(inner).pipe(socket)
  })
  const { port: securePort } = await listen(t, secure)
  let delay = ms
  const path = createServer(socket => {
    const inner = connect(securePort, '127.0.0.1')
    inner.on('error', () => { socket.destroy() })
    socket.once('close', () => { inner.destroy() })
    passLate(inner, socket, () => delay)
    socket.pipe(inner)
  })
  const { port, close } = await listen(t, path)
  return { url: `https://127.0.0.1:${port}`, setDelay: next => { delay = next }, close }
}

/** A https origin that takes connections and never says a word. */
export async function muteOrigin (t: After): Promise<string> {
  const { port } = await listen(t, createServer(socket => { socket.resume() }))
  return `https://127.0.0.1:${port}`
}

/** Connections that a listener with a backlog of 1 queues without anybody accepting them, on Linux. */
const QUEUED = 2

/** `count` http origins to which a TCP connect hangs: nobody accepts, and their queues are full. */
export async function blackholes (t: After, count: number): Promise<string[]> {
  // A thread that stands still accepts nothing; the kernel goes on queueing until the backlog is full, then drops every SYN.
  const worker = new Worker(`
    const { createServer } = require('node:net')
    const { parentPort, workerData } = require('node:worker_threads')
    const servers = Array.from({ length: workerData }, () => createServer().listen({ port: 0, host: '127.0.0.1', backlog: 1 }))
    Promise.all(servers.map(server => new Promise(resolve => server.once('listening', () => resolve(server.address().port))))).then(ports => {
      parentPort.postMessage(ports)
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)
    })`, { eval: true, workerData: count })
  t.after(async () => { await worker.terminate() })
  const [ports] = await once(worker, 'message') as [number[]]
  const fillers = ports.flatMap(port => Array.from({ length: QUEUED }, () => connect(port, '127.0.0.1').on('error', () => {})))
  t.after(() => { for (const socket of fillers) socket.destroy() })
  await Promise.all(fillers.map(async socket => { if (socket.connecting) await once(socket, 'connect') }))
  return ports.map(port => `http://127.0.0.1:${port}`)
}
