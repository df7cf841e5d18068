/** Peers of `flood-lab.ts`, in the other network namespace: sends what it is told to, from the address it is told. */
import { createSocket, type Socket } from 'node:dgram'
import { once } from 'node:events'
import { connect } from 'node:net'

export type FloodOrder =
  /** Datagrams, each from a port of its own or all from one; `first` is their first byte, and the first of them waits for its answer. */
  | { readonly kind: 'udp', readonly from: string, readonly to: string, readonly count: number, readonly first: number, readonly onePort: boolean }
  /** So many datagrams from each of these addresses, in turns. */
  | { readonly kind: 'crowd', readonly from: readonly string[], readonly to: string, readonly count: number, readonly first: number }
  /** Connections asked for at the same time, and how long each may take to open: a dropped SYN is sent again after a second. */
  | { readonly kind: 'tcp', readonly from: string, readonly to: string, readonly count: number, readonly withinMs: number }

export interface FloodSent {
  /** Since the first was sent, ms. */
  readonly elapsedMs: number
  /** Connections that opened. */
  readonly opened: number
}

const PORT = 9003

async function socketAt (address: string): Promise<Socket> {
  const socket = createSocket(address.includes(':') ? 'udp6' : 'udp4')
  socket.bind(0, address)
  await once(socket, 'listening')
  return socket
}

async function send (socket: Socket, to: string, first: number): Promise<void> {
  await new Promise<void>((resolve, reject) => { socket.send(Buffer.from([first, 0, 0, 0, 1]), PORT, to, error => { if (error === null) resolve(); else reject(error) }) })
}

async function datagrams ({ from, to, count, first, onePort }: Extract<FloodOrder, { kind: 'udp' }>): Promise<number> {
  let socket = await socketAt(from)
  if (onePort) {
    const answered = once(socket, 'message')
    await send(socket, to, first)
    await answered
  }
  for (let sent = onePort ? 1 : 0; sent < count; sent++) {
    await send(socket, to, first)
    if (onePort || sent === count - 1) continue
    socket.close()
    socket = await socketAt(from)
  }
  socket.close()
  return 0
}

async function crowd ({ from, to, count, first }: Extract<FloodOrder, { kind: 'crowd' }>): Promise<number> {
  const sockets = await Promise.all(from.map(socketAt))
  for (let turn = 0; turn < count; turn++) await Promise.all(sockets.map(async socket => { await send(socket, to, first) }))
  for (const socket of sockets) socket.close()
  return 0
}

async function connections ({ from, to, count, withinMs }: Extract<FloodOrder, { kind: 'tcp' }>): Promise<number> {
  const opened = await Promise.all(Array.from({ length: count }, async () => {
    const socket = connect({ host: to, port: PORT, localAddress: from })
    return await new Promise<boolean>(resolve => {
      const timer = setTimeout(() => { socket.destroy(); resolve(false) }, withinMs)
      socket.on('error', () => { clearTimeout(timer); resolve(false) })
      socket.once('connect', () => { clearTimeout(timer); socket.destroy(); resolve(true) })
    })
  }))
  return opened.filter(Boolean).length
}

process.on('message', message => {
  const order = message as FloodOrder
  const start = performance.now()
  const done = order.kind === 'udp' ? datagrams(order) : order.kind === 'crowd' ? crowd(order) : connections(order)
  done.then(opened => { process.send?.({ elapsedMs: performance.now() - start, opened } satisfies FloodSent) }, (error: unknown) => {
    process.stderr.write(`${String(error)}\n`)
    process.exit(1)
  })
})
process.on('disconnect', () => { process.exit(0) })
process.send?.('ready')
