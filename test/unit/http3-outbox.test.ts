import assert from 'node:assert/strict'
import { createSocket, type Socket } from 'node:dgram'
import { once } from 'node:events'
import test from 'node:test'
import fc from 'fast-check'
import { BurstSender, type BurstOutcome } from '../../src/gateway/transports/http3/burst-sender.ts'
import { loadLibc, type Libc } from '../../src/gateway/transports/http3/libc.ts'
import { Outbox, packetSlab } from '../../src/gateway/transports/http3/outbox.ts'
import { MAX_PACKET_SIZE } from '../../src/gateway/transports/http3/pacer.ts'
import type { HostPort } from '../../src/gateway/transports/http3/quiche-binding.ts'
import { AF_INET, AF_INET6, encodeSocketAddress } from '../../src/gateway/transports/http3/socket-address.ts'

interface Sent { readonly packets: readonly (readonly [length: number, mark: number])[], readonly to: HostPort, readonly by: 'burst' | 'one' }

/** A socket and a sender that write down what they are given. */
function rig (outcome: () => BurstOutcome = () => 'sent'): { outbox: Outbox, sent: Sent[], put: (length: number, mark: number, to: HostPort) => void, queue: { waiting: number } } {
  const slab = packetSlab()
  const sent: Sent[] = []
  const queue = { waiting: 0 }
  const socket = {
    getSendQueueCount: () => queue.waiting,
    send: (packet: Buffer, ...rest: unknown[]) => {
      const [, length, port, host] = rest as [number, number, number, string]
      sent.push({ packets: [[length, packet[0] ?? -1]], to: { host, port }, by: 'one' })
    }
  } as unknown as Pick<Socket, 'send' | 'getSendQueueCount'>
  const sender = {
    send: (offset: number, bytes: number, segment: number, to: HostPort): BurstOutcome => {
      const result = outcome()
      if (result !== 'sent') return result
      const packets: [number, number][] = []
      for (let at = 0; at < bytes; at += segment) packets.push([Math.min(segment, bytes - at), slab[offset + at] ?? -1])
      sent.push({ packets, to, by: 'burst' })
      return result
    }
  }
  const outbox = new Outbox(socket, slab, sender)
  const put = (length: number, mark: number, to: HostPort): void => {
    const buffer = outbox.packetBuffer()
    assert.ok(buffer)
    buffer[0] = mark
    outbox.transmit(length, to)
  }
  return { outbox, sent, put, queue }
}

const ALICE: HostPort = { host: '127.0.0.1', port: 1 }
const BOB: HostPort = { host: '127.0.0.1', port: 2 }

test('a burst ends with a short packet, another peer, or what the kernel takes at once', () => {
  const { outbox, sent, put } = rig()
  put(MAX_PACKET_SIZE, 1, ALICE)
  put(MAX_PACKET_SIZE, 2, ALICE)
  put(100, 3, ALICE)
  put(100, 4, ALICE)
  put(MAX_PACKET_SIZE, 5, BOB)
  outbox.flush()
  assert.deepEqual(sent.map(({ packets, to }) => [packets, to.port]), [
    [[[MAX_PACKET_SIZE, 1], [MAX_PACKET_SIZE, 2], [100, 3]], 1],
    [[[100, 4]], 1],
    [[[MAX_PACKET_SIZE, 5]], 2]
  ])
  sent.length = 0
  for (let packet = 0; packet < 100; packet++) put(MAX_PACKET_SIZE, packet, ALICE)
  outbox.flush()
  assert.deepEqual(sent.map(({ packets }) => packets.length), [48, 48, 4])
  assert.ok(sent.every(({ packets }) => packets.reduce((sum, [length]) => sum + length, 0) <= 65_507))
})

test('whatever is written leaves once, in order, whole and to whom it is for', () => {
  const step = fc.oneof(
    { weight: 9, arbitrary: fc.record({ length: fc.oneof(fc.constant(MAX_PACKET_SIZE), fc.integer({ min: 1, max: MAX_PACKET_SIZE })), bob: fc.boolean() }) },
    { weight: 1, arbitrary: fc.constant('flush' as const) }
  )
  fc.assert(fc.property(fc.array(step, { maxLength: 600 }), fc.array(fc.constantFrom<BurstOutcome>('sent', 'sent', 'later', 'never'), { minLength: 1, maxLength: 20 }), (steps, outcomes) => {
    let turn = 0
    const { outbox, sent, put } = rig(() => outcomes[turn++ % outcomes.length] ?? 'sent')
    const wanted: [number, number, number][] = []
    for (const [index, one] of steps.entries()) {
      if (one === 'flush') {
        outbox.flush()
        continue
      }
      const to = one.bob ? BOB : ALICE
      wanted.push([one.length, index % 256, to.port])
      put(one.length, index % 256, to)
    }
    outbox.flush()
    assert.deepEqual(sent.flatMap(({ packets, to }) => packets.map(([length, mark]) => [length, mark, to.port])), wanted)
  }))
})

test('what the kernel does not take now waits in the socket, and nothing overtakes it', () => {
  let outcome: BurstOutcome = 'later'
  const { outbox, sent, put, queue } = rig(() => outcome)
  put(MAX_PACKET_SIZE, 1, ALICE)
  put(MAX_PACKET_SIZE, 2, ALICE)
  outbox.flush()
  outcome = 'sent'
  queue.waiting = 2
  put(MAX_PACKET_SIZE, 3, ALICE)
  outbox.flush()
  queue.waiting = 0
  put(MAX_PACKET_SIZE, 4, ALICE)
  outbox.flush()
  assert.deepEqual(sent.map(({ packets, by }) => [packets[0]?.[1], by]), [[1, 'one'], [2, 'one'], [3, 'one'], [4, 'burst']])
})

test('a system without segmentation is asked once', () => {
  let asked = 0
  const { outbox, sent, put } = rig(() => { asked++; return 'never' })
  for (const mark of [1, 2, 3]) {
    put(MAX_PACKET_SIZE, mark, ALICE)
    put(MAX_PACKET_SIZE, mark, ALICE)
    outbox.flush()
  }
  assert.deepEqual([asked, sent.length, outbox.offloads], [1, 6, false])
})

test('no more packets are given out while too many wait for the kernel', () => {
  const { outbox, put, queue } = rig()
  queue.waiting = 129
  assert.equal(outbox.packetBuffer(), undefined)
  queue.waiting = 128
  put(1, 1, ALICE)
})

test('socket addresses: the bytes the kernel knows, for whatever Node calls an address', () => {
  assert.equal(encodeSocketAddress('127.0.0.1', 9003, AF_INET)?.toString('hex'), '0200232b7f0000010000000000000000')
  assert.equal(encodeSocketAddress('2001:db8::ff00:42:8329', 443, AF_INET6)?.toString('hex'), '0a0001bb0000000020010db8000000000000ff000042832900000000')
  assert.equal(encodeSocketAddress('::ffff:127.0.0.1', 1, AF_INET6)?.subarray(8, 24).toString('hex'), '00000000000000000000ffff7f000001')
  for (const host of ['localhost', '::1', '1.2.3', '']) assert.equal(encodeSocketAddress(host, 1, AF_INET), undefined)
  for (const host of ['localhost', '127.0.0.1', 'fe80::1%lo', '']) assert.equal(encodeSocketAddress(host, 1, AF_INET6), undefined)
  fc.assert(fc.property(fc.ipV6(), host => {
    const canonical = new URL(`http://[${host}]/`).hostname.slice(1, -1)
    assert.deepEqual(encodeSocketAddress(host, 1, AF_INET6), encodeSocketAddress(canonical, 1, AF_INET6))
  }))
})

const libc = loadLibc()
const skip = libc === null ? 'optional package @koromix/koffi-linux-x64 does not load here' : false

test('a burst over a real socket arrives as its packets, IPv4 and IPv6', { skip }, async t => {
  for (const host of ['127.0.0.1', '::1']) {
    const type = host === '::1' ? 'udp6' : 'udp4'
    const receiver = createSocket(type)
    t.after(() => { receiver.close() })
    receiver.bind(0, host)
    await once(receiver, 'listening')
    const slab = packetSlab().fill(0)
    for (let slot = 0; slot < 10; slot++) slab[slot * MAX_PACKET_SIZE] = slot
    const sender = BurstSender.open(host, 0, slab)
    assert.ok(sender)
    const socket = createSocket(type)
    t.after(() => { socket.close() })
    // Binding to what is bound completes at once.
    const listening = once(socket, 'listening')
    socket.bind({ fd: sender.fd })
    await listening
    const got: [number, number | undefined, number][] = []
    const all = new Promise<void>(resolve => {
      receiver.on('message', (packet, from) => { if (got.push([packet.length, packet[0], from.port]) === 11) resolve() })
    })
    const to = { host, port: receiver.address().port }
    assert.equal(sender.send(0, 9 * MAX_PACKET_SIZE + 7, MAX_PACKET_SIZE, to), 'sent')
    assert.equal(sender.send(3 * MAX_PACKET_SIZE, 5, 5, to), 'sent')
    await all
    const { port } = socket.address()
    assert.deepEqual(got, [...Array.from({ length: 10 }, (_, slot) => [slot === 9 ? 7 : MAX_PACKET_SIZE, slot, port]), [5, 3, port]])
  }
})

test('an address in use is the error dgram would give', { skip }, async t => {
  const taken = createSocket('udp4')
  t.after(() => { taken.close() })
  taken.bind(0, '127.0.0.1')
  await once(taken, 'listening')
  assert.throws(() => BurstSender.open('127.0.0.1', taken.address().port, packetSlab()), { code: 'EADDRINUSE', syscall: 'bind' })
})

test('what the kernel says of a burst: try later, never again, or lost', () => {
  let errno = 0
  const fake: Libc = { socket: () => 3, setsockopt: () => 0, bind: () => 0, close: () => 0, sendmsg: () => errno === 0 ? 1 : -1, errno: () => errno, address: () => 4_096n }
  const sender = BurstSender.open('127.0.0.1', 0, packetSlab(), fake)
  assert.ok(sender)
  const outcomes = [0, 11, 4, 5, 22, 90, 101].map(code => {
    errno = code
    return [code, sender.send(0, 2_000, 1_000, ALICE), sender.send(0, 1_000, 1_000, ALICE)]
  })
  assert.deepEqual(outcomes, [
    [0, 'sent', 'sent'],
    [11, 'later', 'later'],
    [4, 'later', 'later'],
    [5, 'never', 'sent'],
    [22, 'never', 'sent'],
    [90, 'sent', 'sent'],
    [101, 'sent', 'sent']
  ])
  assert.equal(sender.send(0, 1, 1, { host: 'name', port: 1 }), 'later')
  assert.equal(BurstSender.open('localhost', 0, packetSlab(), fake), undefined)
  assert.equal(BurstSender.open('127.0.0.1', 0, packetSlab(), null), undefined)
})
