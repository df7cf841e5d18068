import { generateKeyPairSync, randomBytes, sign, X509Certificate, type KeyObject } from 'node:crypto'
import { isIP } from 'node:net'
import type { TlsMaterial } from '../../channel/tls-material.ts'
import { bits, boolean, generalName, integer, octets, oid, sequence, set, time, tlv, utf8 } from './der.ts'

const DAY_MS = 86_400_000

/** Chromium refuses a pinned certificate valid for more than 14 days (W3C WebTransport §"custom certificate requirements"). */
export const PINNED_MAX_VALIDITY_MS = 14 * DAY_MS
/** One day below that limit, so that the backdating and a rounding error never cross it. */
export const VALIDITY_MS = 13 * DAY_MS
/** A viewer whose clock runs behind by up to this much still accepts a fresh certificate. */
export const BACKDATE_MS = 3_600_000

/** Names every self-signed certificate carries besides the configured hosts. */
const LOOPBACK = ['localhost', '127.0.0.1', '::1']

const ECDSA_WITH_SHA256 = sequence(oid('1.2.840.10045.4.3.2'))

/**
 * A self-signed ECDSA P-256 certificate that browsers accept through `serverCertificateHashes`: valid 13 days from an hour
 * before `now` (milliseconds since the epoch), for loopback and `hosts`.
 */
export function createSelfSigned (hosts: readonly string[], now: number): TlsMaterial {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const notBefore = Math.floor((now - BACKDATE_MS) / 1000) * 1000
  const der = certificate(publicKey, privateKey, [...new Set([...LOOPBACK, ...hosts])], notBefore)
  const body = der.toString('base64').replace(/.{64}/g, '$&\n').trimEnd()
  return {
    cert: `-----BEGIN CERTIFICATE-----\n${body}\n-----END CERTIFICATE-----\n`,
    key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()
  }
}

/** The SHA-256 of the certificate's DER in base64: the `value` of `serverCertificateHashes`. */
export function certificateHash (cert: string): string {
  return Buffer.from(new X509Certificate(cert).fingerprint256.replaceAll(':', ''), 'hex').toString('base64')
}

/** Whether a certificate is for every one of `hosts`. */
export function coversHosts (cert: X509Certificate, hosts: readonly string[]): boolean {
  return hosts.every(host => (isIP(host) === 0 ? cert.checkHost(host) : cert.checkIP(host)) !== undefined)
}

// RFC 5280 §4.1: TBSCertificate, then the algorithm and the signature.
function certificate (publicKey: KeyObject, privateKey: KeyObject, hosts: readonly string[], notBefore: number): Buffer {
  const name = sequence(set(sequence(oid('2.5.4.3'), utf8('icn-relay'))))
  const serial = randomBytes(16)
  serial[0] = ((serial[0] ?? 0) & 0x7f) | 0x40
  const body = sequence(
    tlv(0xa0, integer(Buffer.of(2))),
    integer(serial),
    ECDSA_WITH_SHA256,
    name,
    sequence(time(notBefore), time(notBefore + VALIDITY_MS)),
    name,
    publicKey.export({ type: 'spki', format: 'der' }),
    tlv(0xa3, sequence(
      extension('2.5.29.19', true, sequence()),
      extension('2.5.29.15', true, bits(Buffer.of(0x80), 7)),
      extension('2.5.29.37', false, sequence(oid('1.3.6.1.5.5.7.3.1'))),
      extension('2.5.29.17', false, sequence(...hosts.map(generalName)))
    ))
  )
  return sequence(body, ECDSA_WITH_SHA256, bits(sign('sha256', body, privateKey)))
}

function extension (id: string, critical: boolean, value: Uint8Array): Buffer {
  return critical ? sequence(oid(id), boolean(true), octets(value)) : sequence(oid(id), octets(value))
}
