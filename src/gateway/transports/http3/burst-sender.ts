/** Sends bursts of packets with one system call each: UDP segmentation offload (Linux 4.18, udp(7) UDP_SEGMENT). */
import { isIPv6 } from 'node:net'
import { loadLibc, systemError, type Libc } from './libc.ts'
import { AF_INET, AF_INET6, encodeSocketAddress } from './socket-address.ts'
import type { HostPort } from './quiche-binding.ts'

/** What becomes of a burst: `later` must be sent another way, and `never` as well, like everything after it. */
export type BurstOutcome = 'sent' | 'later' | 'never'

/** A datagram of IPv4 carries at most 65,507 bytes, and the kernel counts a burst as one; 64 segments are the kernel's own bound. */
export const MAX_BURST_BYTES = 65_507
export const MAX_BURST_SEGMENTS = 64

const SOCK_DGRAM = 2
const SOCK_NONBLOCK = 0x800
const SOCK_CLOEXEC = 0x80000
const IPPROTO_IPV6 = 41
const IPV6_V6ONLY = 26
const SOL_UDP = 17
const UDP_SEGMENT = 103
const MSG_DONTWAIT = 0x40
const EINTR = 4
const EAGAIN = 11
/** What a kernel, a device or a sandbox says that does not do segmentation: EPERM, EIO, EINVAL, ENOPROTOOPT, EOPNOTSUPP. */
const UNSUPPORTED = [1, 5, 22, 92, 95]

/** Offsets in the block of structures: msghdr (56 bytes), iovec (16), cmsghdr with a uint16 (24), sockaddr (28). */
const MESSAGE = 0
const VECTOR = 64
const CONTROL = 96
const ADDRESS = 128
const BLOCK = 192
const CONTROL_LENGTH = 24

export class BurstSender {
  /** For `dgram.bind({ fd })`, which then owns it. */
  readonly fd: number
  private readonly libc: Libc
  private readonly family: typeof AF_INET | typeof AF_INET6
  private readonly block = Buffer.allocUnsafeSlow(BLOCK).fill(0)
  private readonly message: bigint
  /** Of the packets; what is sent lies in there. */
  private readonly slabAddress: bigint
  private to: HostPort = { host: '', port: 0 }

  private constructor (libc: Libc, fd: number, family: typeof AF_INET | typeof AF_INET6, slab: Buffer) {
    this.libc = libc
    this.fd = fd
    this.family = family
    this.slabAddress = libc.address(slab)
    this.message = libc.address(this.block)
    const { block, message } = this
    block.writeBigUInt64LE(message + BigInt(ADDRESS), MESSAGE)
    block.writeBigUInt64LE(message + BigInt(VECTOR), MESSAGE + 16)
    block.writeBigUInt64LE(1n, MESSAGE + 24)
    block.writeBigUInt64LE(message + BigInt(CONTROL), MESSAGE + 32)
    // CMSG_LEN(2) and the level and type of a segment size (cmsg(3)).
    block.writeBigUInt64LE(18n, CONTROL)
    block.writeInt32LE(SOL_UDP, CONTROL + 8)
    block.writeInt32LE(UDP_SEGMENT, CONTROL + 12)
  }

  /**
   * A bound UDP socket that sends bursts out of `slab`; undefined where the C library cannot be had.
   * @throws the system's error when the address cannot be had
   */
  static open (host: string, port: number, slab: Buffer, libc = loadLibc()): BurstSender | undefined {
    if (libc === null) return undefined
    const family = isIPv6(host) ? AF_INET6 : AF_INET
    const address = encodeSocketAddress(host, port, family)
    if (address === undefined) return undefined
    const fd = libc.socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)
    if (fd < 0) throw systemError('socket', libc.errno(), host, port)
    // As dgram does it: an IPv6 socket takes IPv4 too, whatever the system's default is.
    if (family === AF_INET6) libc.setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, Buffer.alloc(4), 4)
    if (libc.bind(fd, address, address.length) !== 0) {
      const errno = libc.errno()
      libc.close(fd)
      throw systemError('bind', errno, host, port)
    }
    return new BurstSender(libc, fd, family, slab)
  }

  /**
   * Sends `bytes` bytes of the slab from `offset` on as packets of `segment` bytes, the last one of the rest. What the network refuses is
   * lost, as any packet may be.
   */
  send (offset: number, bytes: number, segment: number, to: HostPort): BurstOutcome {
    const { block } = this
    if (!this.address(to)) return 'later'
    const segments = Math.ceil(bytes / segment)
    block.writeBigUInt64LE(this.slabAddress + BigInt(offset), VECTOR)
    block.writeUInt32LE(bytes, VECTOR + 8)
    block.writeUInt32LE(segments > 1 ? CONTROL_LENGTH : 0, MESSAGE + 40)
    block.writeUInt16LE(segment, CONTROL + 16)
    for (let attempt = 0; attempt < 2; attempt++) {
      if (this.libc.sendmsg(this.fd, this.message, MSG_DONTWAIT) >= 0) return 'sent'
      const errno = this.libc.errno()
      if (errno === EINTR) continue
      if (errno === EAGAIN) return 'later'
      return segments > 1 && UNSUPPORTED.includes(errno) ? 'never' : 'sent'
    }
    return 'later'
  }

  private address (to: HostPort): boolean {
    if (to.port === this.to.port && to.host === this.to.host) return true
    const address = encodeSocketAddress(to.host, to.port, this.family)
    if (address === undefined) return false
    this.block.set(address, ADDRESS)
    this.block.writeUInt32LE(address.length, MESSAGE + 8)
    this.to = to
    return true
  }
}
