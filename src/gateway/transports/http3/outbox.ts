/** Packets on their way to the socket: they are written into slots, and leave in bursts where the system can do that. */
import type { Socket } from 'node:dgram'
import { MAX_BURST_BYTES, MAX_BURST_SEGMENTS, type BurstSender } from './burst-sender.ts'
import { MAX_BURST_PACKETS, MAX_PACKET_SIZE } from './pacer.ts'
import type { HostPort } from './quiche-binding.ts'

/** Packets sent in one turn of the event loop, all connections together: about 5 ms of CPU at 20 µs a packet. */
export const TURN_PACKETS = 256
/** Sends the kernel has not taken yet; more would overwrite packets that still wait in `slots`. */
const MAX_UNSENT = 128
/** What a turn may add on top of what waits. */
const SLOTS = MAX_UNSENT + TURN_PACKETS
const BURST = Math.min(MAX_BURST_SEGMENTS, Math.floor(MAX_BURST_BYTES / MAX_PACKET_SIZE))

/** Memory for every packet that is written and not yet taken by the kernel; slots lie side by side. */
export function packetSlab (): Buffer {
  return Buffer.allocUnsafeSlow(SLOTS * MAX_PACKET_SIZE)
}

export class Outbox {
  private readonly socket: Pick<Socket, 'send' | 'getSendQueueCount'>
  private readonly slots: Buffer[] = []
  private sender: Pick<BurstSender, 'send'> | undefined
  private nextSlot = 0
  /** Packets of the burst that is being gathered, in slots from `first` on; all but the last fill theirs. */
  private first = 0
  private count = 0
  private lastLength = 0
  private to: HostPort | undefined

  /** @param sender of the same socket; packets leave one by one without it */
  constructor (socket: Pick<Socket, 'send' | 'getSendQueueCount'>, slab: Buffer, sender?: Pick<BurstSender, 'send'>) {
    this.socket = socket
    this.sender = sender
    for (let at = 0; at < slab.length; at += MAX_PACKET_SIZE) this.slots.push(slab.subarray(at, at + MAX_PACKET_SIZE))
  }

  /** Whether several packets leave with one system call. */
  get offloads (): boolean { return this.sender !== undefined }

  /** Where the next packet is to be written; undefined while too many wait for the kernel. */
  packetBuffer (): Buffer | undefined {
    if (this.nextSlot % MAX_BURST_PACKETS === 0 && this.socket.getSendQueueCount() > MAX_UNSENT) return undefined
    return this.slots[this.nextSlot]
  }

  /** Takes the packet just written to the last buffer given out. */
  transmit (length: number, to: HostPort): void {
    const slot = this.nextSlot
    this.nextSlot = (slot + 1) % SLOTS
    const joins = this.count > 0 && this.count < BURST && slot === this.first + this.count && this.lastLength === MAX_PACKET_SIZE &&
      to.port === this.to?.port && to.host === this.to.host
    if (!joins) {
      this.flush()
      if (this.sender === undefined) return this.sendOne(slot, length, to)
      this.first = slot
      this.to = to
    }
    this.count++
    this.lastLength = length
  }

  /** Sends what has been gathered; to be called before the event loop goes on. */
  flush (): void {
    const { sender, first, count, lastLength, to } = this
    if (count === 0 || to === undefined) return
    this.count = 0
    // What waits goes first: packets that overtake others look like losses (RFC 9002 §6.1.1).
    const outcome = sender === undefined || this.socket.getSendQueueCount() > 0
      ? 'later'
      : sender.send(first * MAX_PACKET_SIZE, (count - 1) * MAX_PACKET_SIZE + lastLength, count > 1 ? MAX_PACKET_SIZE : lastLength, to)
    if (outcome === 'sent') return
    if (outcome === 'never') this.sender = undefined
    for (let index = 0; index < count; index++) this.sendOne(first + index, index === count - 1 ? lastLength : MAX_PACKET_SIZE, to)
  }

  private sendOne (slot: number, length: number, to: HostPort): void {
    const packet = this.slots[slot]
    // No callback: a packet that cannot be sent is a packet lost, and QUIC repairs it.
    if (packet !== undefined) this.socket.send(packet, 0, length, to.port, to.host)
  }

  /** Sends a packet that belongs to no connection, unless too many wait. */
  reply (packet: Buffer, to: HostPort): void {
    if (this.socket.getSendQueueCount() <= MAX_UNSENT) this.socket.send(packet, to.port, to.host)
  }
}
