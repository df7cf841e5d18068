/** Initial packets of our own, sealed without a connection (RFC 9001 §5), so that a client can be refused at no more cost than its packet. No IO. */
import { createCipheriv, createHmac } from 'node:crypto'
import { QUIC_V1 } from './packet-header.ts'
import { encodeVarints } from './varint.ts'

/** RFC 9001 §5.2: version 1. */
const INITIAL_SALT = Buffer.from('38762cf7f55934b34d179ae6a4c80cadccbb7f0a', 'hex')
/** RFC 9001 §5.3 and §5.4.2: AEAD_AES_128_GCM, and what of a packet masks its header. */
const KEY_LENGTH = 16
const IV_LENGTH = 12
const TAG_LENGTH = 16
const SAMPLE_LENGTH = 16
/** The sample begins where the packet number would end if it had all of its four bytes. */
const SAMPLE_OFFSET = 4

/** RFC 9000 §20.1. */
export const QUIC_ERROR = { CONNECTION_REFUSED: 0x02, INVALID_TOKEN: 0x0b } as const
/** RFC 9000 §19.19: a close by the transport. */
const CONNECTION_CLOSE = 0x1c
/** RFC 9000 §17.2.2: long header, Initial, a packet number of one byte. */
const INITIAL_FIRST_BYTE = 0xc0

export interface InitialKeys {
  readonly key: Buffer
  readonly iv: Buffer
  /** Of the header protection. */
  readonly hp: Buffer
}

/** HKDF-Expand-Label (RFC 8446 §7.1) with an empty context, for at most the 32 bytes one round gives. */
function expandLabel (secret: Uint8Array, label: string, length: number): Buffer {
  const name = `tls13 ${label}`
  const info = Buffer.concat([Buffer.of(length >> 8, length & 0xff, name.length), Buffer.from(name), Buffer.of(0, 1)])
  return createHmac('sha256', secret).update(info).digest().subarray(0, length)
}

/** RFC 9001 §5.2. @param dcid destination id of the client's Initial, after a Retry of the one that answers it */
export function initialKeys (dcid: Uint8Array, sender: 'client' | 'server'): InitialKeys {
  const initial = createHmac('sha256', INITIAL_SALT).update(dcid).digest()
  const secret = expandLabel(initial, `${sender} in`, 32)
  return { key: expandLabel(secret, 'quic key', KEY_LENGTH), iv: expandLabel(secret, 'quic iv', IV_LENGTH), hp: expandLabel(secret, 'quic hp', KEY_LENGTH) }
}

/**
 * Seals a packet (RFC 9001 §5.3, §5.4).
 * @param header unprotected, with the packet number at its end and the length of the rest before it
 * @param payload with the packet number at least 4 bytes
 */
export function protect (keys: InitialKeys, header: Uint8Array, packetNumber: number, payload: Uint8Array): Buffer {
  const nonce = Buffer.from(keys.iv)
  const tail = nonce.length - 4
  nonce.writeUInt32BE((nonce.readUInt32BE(tail) ^ packetNumber) >>> 0, tail)
  const seal = createCipheriv('aes-128-gcm', keys.key, nonce, { authTagLength: TAG_LENGTH }).setAAD(header)
  const packet = Buffer.concat([header, seal.update(payload), seal.final(), seal.getAuthTag()])
  const numberLength = ((header[0] ?? 0) & 0x03) + 1
  const numberAt = header.length - numberLength
  const sample = packet.subarray(numberAt + SAMPLE_OFFSET, numberAt + SAMPLE_OFFSET + SAMPLE_LENGTH)
  const mask = createCipheriv('aes-128-ecb', keys.hp, null).update(sample)
  packet[0] = (packet[0] ?? 0) ^ ((mask[0] ?? 0) & 0x0f)
  for (let index = 0; index < numberLength; index++) packet[numberAt + index] = (packet[numberAt + index] ?? 0) ^ (mask[1 + index] ?? 0)
  return packet
}

export interface RefusedInitial {
  /** Ids of the client's packet. */
  readonly dcid: Uint8Array
  readonly scid: Uint8Array
}

/**
 * The answer to an Initial that ends the attempt: a CONNECTION_CLOSE in an Initial of the server, under 150 bytes. It asks for no
 * acknowledgement, so it need not be padded (RFC 9000 §14.1).
 * @param ourId source id of the answer
 * @param reason at most 63 bytes of ASCII, for whoever debugs the client
 */
export function closeInitial ({ dcid, scid }: RefusedInitial, ourId: Uint8Array, code: number, reason: string): Buffer {
  // Frame type 0: no frame of the client is to blame.
  const payload = Buffer.concat([Buffer.of(CONNECTION_CLOSE), encodeVarints(code), Buffer.of(0, reason.length), Buffer.from(reason, 'latin1')])
  const packetNumber = Buffer.of(0)
  const version = Buffer.alloc(4)
  version.writeUInt32BE(QUIC_V1)
  const header = Buffer.concat([
    Buffer.of(INITIAL_FIRST_BYTE), version,
    Buffer.of(scid.length), scid, Buffer.of(ourId.length), ourId,
    // No token.
    Buffer.of(0),
    encodeVarints(packetNumber.length + payload.length + TAG_LENGTH), packetNumber
  ])
  return protect(initialKeys(dcid, 'server'), header, 0, payload)
}
