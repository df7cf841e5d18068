import type { SecureContextOptions } from 'node:tls'

/**
 * What viewers may agree on: TLS 1.3, and of TLS 1.2 only what has forward secrecy and authenticated encryption. Node's own list also has CBC
 * and the static RSA exchange.
 */
export const CIPHERS = [
  'TLS_AES_128_GCM_SHA256',
  'TLS_AES_256_GCM_SHA384',
  'TLS_CHACHA20_POLY1305_SHA256',
  'ECDHE-ECDSA-AES128-GCM-SHA256',
  'ECDHE-RSA-AES128-GCM-SHA256',
  'ECDHE-ECDSA-AES256-GCM-SHA384',
  'ECDHE-RSA-AES256-GCM-SHA384',
  'ECDHE-ECDSA-CHACHA20-POLY1305',
  'ECDHE-RSA-CHACHA20-POLY1305'
].join(':')

/** To be given with every certificate: a context that is set without it has Node's defaults again. */
export const TLS_POLICY = { minVersion: 'TLSv1.2', ciphers: CIPHERS } as const satisfies SecureContextOptions
