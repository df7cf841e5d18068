/** QUIC's Initial packets (RFC 9000 §17.2.2), protected by keys that anybody can derive (RFC 9001 §5.2): for what no well-behaved client sends. */
import { createCipheriv, createDecipheriv, createHmac, randomBytes } from 'node:crypto'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { quinnBinding } from './quinn.ts'

const VERSION_1 = 1
const SALT = Buffer.from('38762cf7f55934b34d179ae6a4c80cadccbb7f0a', 'hex')
const TAG = 16
const SAMPLE = 16
/** A client's Initial fills a datagram of this many bytes at least. */
const MIN_DATAGRAM = 1_200
const FRAME = { padding: 0x00, ping: 0x01, crypto: 0x06 } as const

export interface Keys {
  readonly key: Buffer
  readonly iv: Buffer
  /** For header protection. */
  readonly hp: Buffer
}

export interface Initial {
  readonly dcid: Uint8Array
  readonly scid: Uint8Array
  readonly packetNumber: number
  /** Frames. */
  readonly payload: Uint8Array
}

export interface ClientHello {
  /** It is part of the transport parameters as well, so a server believes the ClientHello with this one only. */
  readonly scid: Buffer
  /** What the CRYPTO frames carry. */
  readonly bytes: Buffer
}

function hmac (key: Uint8Array, data: Uint8Array): Buffer {
  return createHmac('sha256', key).update(data).digest()
}

/** HKDF-Expand-Label of TLS 1.3 for up to 32 bytes, which is one block. */
function expandLabel (secret: Uint8Array, label: string, length: number): Buffer {
  const name = Buffer.from(`tls13 ${label}`)
  return hmac(secret, Buffer.concat([Buffer.from([0, length, name.length]), name, Buffer.from([0, 1])])).subarray(0, length)
}

/** @param dcid what the client wrote into its first packet */
export function initialKeys (dcid: Uint8Array, side: 'client' | 'server'): Keys {
  const secret = expandLabel(hmac(SALT, dcid), `${side} in`, 32)
  return { key: expandLabel(secret, 'quic key', 16), iv: expandLabel(secret, 'quic iv', 12), hp: expandLabel(secret, 'quic hp', 16) }
}

function varint (value: number): Buffer {
  if (value < 0x40) return Buffer.from([value])
  const out = Buffer.alloc(value < 0x4000 ? 2 : 4)
  if (out.length === 2) out.writeUInt16BE(0x4000 | value)
  else out.writeUInt32BE(0x80000000 + value)
  return out
}

/** @throws RangeError behind the end */
function readVarint (bytes: Buffer, at: number): { value: number, next: number } {
  const first = bytes.readUInt8(at)
  const length = 1 << (first >> 6)
  let value = first & 0x3f
  for (let more = 1; more < length; more++) value = value * 256 + bytes.readUInt8(at + more)
  return { value, next: at + length }
}

function nonce (iv: Buffer, packetNumber: number): Buffer {
  const out = Buffer.from(iv)
  out.writeUInt32BE((out.readUInt32BE(8) ^ packetNumber) >>> 0, 8)
  return out
}

function mask (hp: Buffer, sample: Uint8Array): Buffer {
  return createCipheriv('aes-128-ecb', hp, null).setAutoPadding(false).update(sample)
}

/** A protected packet. @param numberBytes how many bytes the packet number gets, 1 to 4 */
export function sealInitial ({ dcid, scid, packetNumber, payload }: Initial, keys: Keys = initialKeys(dcid, 'client'), numberBytes = 4): Buffer {
  const number = Buffer.alloc(4)
  number.writeUInt32BE(packetNumber)
  const version = Buffer.alloc(4)
  version.writeUInt32BE(VERSION_1)
  const length = numberBytes + payload.length + TAG
  // The length takes two bytes even when one would do, as most implementations write it.
  const lengthField = Buffer.from([0x40 | length >> 8, length & 0xff])
  const header = Buffer.concat([Buffer.from([0xc0 | numberBytes - 1]), version, Buffer.from([dcid.length]), dcid, Buffer.from([scid.length]), scid, varint(0), lengthField, number.subarray(4 - numberBytes)])
  const cipher = createCipheriv('aes-128-gcm', keys.key, nonce(keys.iv, packetNumber)).setAAD(header)
  const packet = Buffer.concat([header, cipher.update(payload), cipher.final(), cipher.getAuthTag()])
  protect(packet, header.length - numberBytes, numberBytes, mask(keys.hp, packet.subarray(header.length - numberBytes + 4, header.length - numberBytes + 4 + SAMPLE)))
  return packet
}

function protect (packet: Buffer, numberAt: number, numberBytes: number, bits: Buffer): void {
  packet[0] = packet.readUInt8(0) ^ (bits.readUInt8(0) & 0x0f)
  for (let at = 0; at < numberBytes; at++) packet[numberAt + at] = packet.readUInt8(numberAt + at) ^ bits.readUInt8(1 + at)
}

/** What is in the Initial at the beginning of a datagram. @throws Error when there is none, or it was changed on the way */
export function openInitial (datagram: Uint8Array, keysFor: (dcid: Uint8Array) => Keys = dcid => initialKeys(dcid, 'client')): Initial {
  const packet = Buffer.from(datagram)
  if ((packet.readUInt8(0) & 0xf0) !== 0xc0 || packet.readUInt32BE(1) !== VERSION_1) throw new Error('no Initial of version 1')
  const dcid = packet.subarray(6, 6 + packet.readUInt8(5))
  const scidAt = 6 + dcid.length + 1
  const scid = packet.subarray(scidAt, scidAt + packet.readUInt8(scidAt - 1))
  const token = readVarint(packet, scidAt + scid.length)
  const length = readVarint(packet, token.next + token.value)
  const numberAt = length.next
  const keys = keysFor(dcid)
  const bits = mask(keys.hp, packet.subarray(numberAt + 4, numberAt + 4 + SAMPLE))
  const numberBytes = ((packet.readUInt8(0) ^ bits.readUInt8(0)) & 0x03) + 1
  protect(packet, numberAt, numberBytes, bits)
  const packetNumber = packet.readUIntBE(numberAt, numberBytes)
  const end = numberAt + length.value
  const decipher = createDecipheriv('aes-128-gcm', keys.key, nonce(keys.iv, packetNumber)).setAAD(packet.subarray(0, numberAt + numberBytes)).setAuthTag(packet.subarray(end - TAG, end))
  return { dcid, scid, packetNumber, payload: Buffer.concat([decipher.update(packet.subarray(numberAt + numberBytes, end - TAG)), decipher.final()]) }
}

export interface CryptoPiece {
  readonly offset: number
  readonly bytes: Uint8Array
}

export function cryptoFrame ({ offset, bytes }: CryptoPiece): Buffer {
  return Buffer.concat([Buffer.from([FRAME.crypto]), varint(offset), varint(bytes.length), bytes])
}

/** The CRYPTO frames of a payload. @throws Error at any other frame than PADDING and PING */
export function cryptoPieces (payload: Uint8Array): CryptoPiece[] {
  const bytes = Buffer.from(payload)
  const pieces: CryptoPiece[] = []
  for (let at = 0; at < bytes.length;) {
    const type = bytes[at]
    if (type === FRAME.padding || type === FRAME.ping) {
      at++
    } else if (type === FRAME.crypto) {
      const offset = readVarint(bytes, at + 1)
      const length = readVarint(bytes, offset.next)
      pieces.push({ offset: offset.value, bytes: bytes.subarray(length.next, length.next + length.value) })
      at = length.next + length.value
    } else {
      throw new Error(`frame type ${type}`)
    }
  }
  return pieces
}

/** An Initial that fills a datagram, as a client has to send it. */
export function clientInitial (dcid: Uint8Array, scid: Uint8Array, packetNumber: number, frames: Uint8Array): Buffer {
  const overhead = 1 + 4 + 1 + dcid.length + 1 + scid.length + 1 + 2 + 4 + TAG
  const payload = Buffer.alloc(Math.max(frames.length, MIN_DATAGRAM - overhead))
  payload.set(frames)
  return sealInitial({ dcid, scid, packetNumber, payload })
}

/** The first packets of a handshake, with a ClientHello that the server believes. */
export function helloInitials ({ scid, bytes }: ClientHello, dcid: Uint8Array = randomBytes(16)): Buffer[] {
  const packets: Buffer[] = []
  for (let offset = 0; offset < bytes.length; offset += 1_000) packets.push(clientInitial(dcid, scid, packets.length, cryptoFrame({ offset, bytes: bytes.subarray(offset, offset + 1_000) })))
  return packets
}

/** Version Negotiation without a version that anybody speaks, for the sender of an Initial. */
function noVersion ({ dcid, scid }: Initial): Buffer {
  return Buffer.concat([Buffer.from([0x80, 0, 0, 0, 0, scid.length]), scid, Buffer.from([dcid.length]), dcid, Buffer.from('1a2a3a4a', 'hex')])
}

/** What the engine's client sends first. */
export async function recordClientHello (): Promise<ClientHello> {
  const sink = createSocket('udp4')
  sink.bind(0, '127.0.0.1')
  await once(sink, 'listening')
  const hello = new Promise<ClientHello>((resolve, reject) => {
    const pieces: CryptoPiece[] = []
    sink.on('message', (datagram, { port }) => {
      try {
        const initial = openInitial(datagram)
        pieces.push(...cryptoPieces(initial.payload))
        const bytes = joined(pieces)
        if (bytes === undefined) return
        // Else the client would ask again for half a minute.
        sink.send(noVersion(initial), port, '127.0.0.1')
        resolve({ scid: Buffer.from(initial.scid), bytes })
      } catch (error) {
        reject(error instanceof Error ? error : new Error(String(error)))
      }
    })
  })
  const refused = quinnBinding().NapiClient.disableVerify().connect(`https://127.0.0.1:${sink.address().port}/`).then(() => {}, () => {})
  try {
    const recorded = await hello
    await refused
    return recorded
  } finally {
    sink.close()
  }
}

/** The message the pieces are of, once it is there from its first byte to its last. */
function joined (pieces: readonly CryptoPiece[]): Buffer | undefined {
  let out = Buffer.alloc(0)
  for (const { offset, bytes } of [...pieces].sort((a, b) => a.offset - b.offset)) {
    if (offset <= out.length) out = Buffer.concat([out, bytes.subarray(Math.min(bytes.length, out.length - offset))])
  }
  // A handshake message begins with its type and, in three bytes, its length.
  return out.length >= 4 && out.length >= 4 + out.readUIntBE(1, 3) ? out : undefined
}
