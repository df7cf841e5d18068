import { isIP, isIPv4 } from 'node:net'
import { ipv6Groups } from '../../admission/address-key.ts'

// The few ASN.1 DER forms (ITU-T X.690) that a self-signed certificate needs; a library for this brings ten packages.

/** One tag-length-value. */
export function tlv (tag: number, ...contents: Uint8Array[]): Buffer {
  const body = Buffer.concat(contents)
  if (body.length < 0x80) return Buffer.concat([Buffer.of(tag, body.length), body])
  const length: number[] = []
  for (let rest = body.length; rest > 0; rest = Math.floor(rest / 256)) length.unshift(rest % 256)
  return Buffer.concat([Buffer.of(tag, 0x80 | length.length, ...length), body])
}

export const sequence = (...items: Uint8Array[]): Buffer => tlv(0x30, ...items)
export const set = (...items: Uint8Array[]): Buffer => tlv(0x31, ...items)
export const octets = (bytes: Uint8Array): Buffer => tlv(0x04, bytes)
export const utf8 = (text: string): Buffer => tlv(0x0c, Buffer.from(text))
export const boolean = (value: boolean): Buffer => tlv(0x01, Buffer.of(value ? 0xff : 0))

/** BIT STRING; `unused` is the number of unused bits in the last byte. */
export const bits = (bytes: Uint8Array, unused = 0): Buffer => tlv(0x03, Buffer.of(unused), bytes)

/** INTEGER from big-endian bytes taken as unsigned. */
export function integer (bytes: Uint8Array): Buffer {
  const first = bytes.findIndex(byte => byte !== 0)
  const trimmed = first < 0 ? Buffer.of(0) : bytes.subarray(first)
  const negative = ((trimmed[0] ?? 0) & 0x80) !== 0
  return tlv(0x02, negative ? Buffer.concat([Buffer.of(0), trimmed]) : trimmed)
}

/** OBJECT IDENTIFIER from its dotted form. */
export function oid (dotted: string): Buffer {
  const [first = 0, second = 0, ...rest] = dotted.split('.').map(Number)
  const bytes: number[] = [first * 40 + second]
  for (const arc of rest) {
    const groups: number[] = [arc % 128]
    for (let left = Math.floor(arc / 128); left > 0; left = Math.floor(left / 128)) groups.unshift(left % 128 | 0x80)
    bytes.push(...groups)
  }
  return tlv(0x06, Buffer.from(bytes))
}

/** Time of a validity field: UTCTime through 2049 and GeneralizedTime after (RFC 5280 §4.1.2.5); whole seconds. */
export function time (epochMs: number): Buffer {
  const digits = new Date(epochMs).toISOString().replace(/\.\d+Z$/, 'Z').replace(/[-:T]/g, '')
  return digits < '2050' ? tlv(0x17, Buffer.from(digits.slice(2))) : tlv(0x18, Buffer.from(digits))
}

/** GeneralName of a host: dNSName, or iPAddress when it is a literal. */
export function generalName (host: string): Buffer {
  if (isIP(host) === 0) return tlv(0x82, Buffer.from(host, 'ascii'))
  return tlv(0x87, isIPv4(host) ? Buffer.from(host.split('.').map(Number)) : Buffer.from(ipv6Groups(host).flatMap(group => [group >> 8, group & 0xff])))
}
