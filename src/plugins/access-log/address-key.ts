import { randomBytes } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { RelayError, systemCode } from '../../base/errors.ts'

/** As long as what it authenticates with, SHA-256 (RFC 2104 §3). */
const RANDOM_BYTES = 32
const LEAST_BYTES = 16

/**
 * The key of hashed addresses: what a file holds, without spaces around it, or a random one.
 * @throws RelayError RELAY_ERR_CONFIG
 */
export async function readAddressKey (path: string): Promise<Uint8Array> {
  if (path === '') return randomBytes(RANDOM_BYTES)
  const text = await readFile(path, 'latin1').catch((error: unknown) => {
    throw new RelayError('RELAY_ERR_CONFIG', `access_log.address_key_file ${path} cannot be read: ${systemCode(error) ?? String(error)}`, { cause: error })
  })
  const key = Buffer.from(text.trim(), 'latin1')
  if (key.length < LEAST_BYTES) throw new RelayError('RELAY_ERR_CONFIG', `access_log.address_key_file ${path} must hold ${LEAST_BYTES} bytes or more`)
  return key
}
