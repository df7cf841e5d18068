/**
 * `deploy/nftables.conf` at work: a server in this network namespace, peers in one of their own, a cable between them. To be run as root by
 * `unshare --net node --import tsx`; prints what came of it as JSON.
 */
import { execFileSync, fork, type ChildProcess } from 'node:child_process'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { fileURLToPath } from 'node:url'
import type { FloodOrder, FloodSent } from './flood-sender.ts'

const RULES = fileURLToPath(new URL('../../deploy/nftables.conf', import.meta.url))
const PORT = 9003
const SERVER = { v4: '10.99.0.1', v6: 'fd00:99::1' }
/** The second IPv6 address is of the same /64 as the first, the third is not. */
const PEERS = { v4: ['10.99.0.2', '10.99.0.3'], v6: ['fd00:99::2', 'fd00:99::3', 'fd00:99:0:1::2'] }
const CROWD = Array.from({ length: 40 }, (_, number) => `10.99.1.${number + 1}`)
const INITIAL = 0xc3
const SHORT = 0x43

export interface FloodResult extends FloodSent {
  /** What was tried, and from which address. */
  readonly name: string
  readonly sent: number
  readonly received: number
  /** Packets of each counter. */
  readonly dropped: Readonly<Record<string, number>>
  /** IPv6 addresses that have limits of their own. */
  readonly known6: readonly string[]
}

const run = (command: string, ...args: string[]): string => execFileSync(command, args, { encoding: 'utf8' })

/** A process in a namespace of its own, at the other end of a cable. */
async function cabled (): Promise<ChildProcess> {
  const peer = fork(fileURLToPath(new URL('./flood-sender.ts', import.meta.url)), [], { execPath: 'unshare', execArgv: ['--net', process.execPath, '--import', 'tsx'], stdio: ['ignore', 'ignore', 'inherit', 'ipc'] })
  await once(peer, 'message')
  const inside = (...args: string[]): void => { run('nsenter', `--net=/proc/${peer.pid ?? 0}/ns/net`, 'ip', ...args) }
  run('ip', 'link', 'add', 'near', 'type', 'veth', 'peer', 'name', 'far', 'netns', String(peer.pid))
  run('ip', 'address', 'add', `${SERVER.v4}/16`, 'dev', 'near')
  run('ip', 'address', 'add', `${SERVER.v6}/48`, 'dev', 'near', 'nodad')
  for (const address of [...PEERS.v4, ...CROWD]) inside('address', 'add', `${address}/16`, 'dev', 'far')
  for (const address of PEERS.v6) inside('address', 'add', `${address}/48`, 'dev', 'far', 'nodad')
  run('ip', 'link', 'set', 'lo', 'up')
  run('ip', 'link', 'set', 'near', 'up')
  inside('link', 'set', 'far', 'up')
  return peer
}

function counters (): Record<string, number> {
  const { nftables } = JSON.parse(run('nft', '-j', 'list', 'counters', 'table', 'inet', 'icn_relay')) as { nftables: { counter?: { name: string, packets: number } }[] }
  return Object.fromEntries(nftables.flatMap(({ counter }) => counter === undefined ? [] : [[counter.name, counter.packets]]))
}

function known6 (): string[] {
  interface Element { elem?: { val?: string } }
  const { nftables } = JSON.parse(run('nft', '-j', 'list', 'set', 'inet', 'icn_relay', 'udp6')) as { nftables: { set?: { elem?: Element[] } }[] }
  return nftables.flatMap(({ set }) => set?.elem ?? []).flatMap(({ elem }) => elem?.val ?? [])
}

const peer = await cabled()
let received = 0
for (const type of ['udp4', 'udp6'] as const) {
  const socket = createSocket({ type, ipv6Only: type === 'udp6', recvBufferSize: 4_000_000 })
  socket.on('message', (_, { port, address }) => {
    received++
    socket.send('!', port, address)
  })
  socket.bind(PORT, type === 'udp6' ? '::' : '0.0.0.0')
  await once(socket, 'listening')
}
const http = createServer(socket => { socket.on('error', () => {}).end() }).listen(PORT, '::', 1_024)
await once(http, 'listening')

/** Everything starts anew with each: sets, counters, and the flows the kernel knows. */
async function flood (name: string, orders: readonly FloodOrder[]): Promise<void> {
  run('nft', '-f', RULES)
  for (const order of orders) {
    received = 0
    const before = counters()
    peer.send(order)
    const [sent] = await once(peer, 'message') as [FloodSent]
    // What the kernel let in is in the socket's buffer by now, and read within a few turns.
    for (let last = -1; last !== received;) {
      last = received
      await new Promise(resolve => { setTimeout(resolve, 50) })
    }
    const dropped = Object.fromEntries(Object.entries(counters()).map(([counter, packets]) => [counter, packets - (before[counter] ?? 0)]))
    process.stdout.write(`${JSON.stringify({ name: `${name}, ${order.kind === 'crowd' ? 'crowd' : order.from}`, sent: order.kind === 'crowd' ? order.count * order.from.length : order.count, received, dropped, known6: known6(), ...sent } satisfies FloodResult)}\n`)
  }
}

for (const [to, [one = '', other = '', third = '']] of [[SERVER.v4, PEERS.v4], [SERVER.v6, PEERS.v6]] as const) {
  const udp = (from: string, count: number, first = INITIAL, onePort = false): FloodOrder => ({ kind: 'udp', from, to, count, first, onePort })
  const elsewhere = third === '' ? other : third
  await flood('ports', [udp(one, 2_000), udp(elsewhere, 20), ...third === '' ? [] : [udp(other, 20)]])
  await flood('short headers', [udp(one, 2_000, SHORT), udp(elsewhere, 20, SHORT)])
  await flood('one port', [udp(one, 2_000, INITIAL, true), udp(elsewhere, 20, INITIAL, true)])
  await flood('a session', [udp(one, 2_000, SHORT, true)])
  await flood('connections', [{ kind: 'tcp', from: one, to, count: 400, withinMs: 500 }, { kind: 'tcp', from: elsewhere, to, count: 20, withinMs: 30_000 }])
}
await flood('ports', [{ kind: 'crowd', from: CROWD, to: SERVER.v4, count: 50, first: INITIAL }])
peer.disconnect()
process.exit(0)
