import { randomBytes } from 'node:crypto'
import { RelayError } from '../../base/errors.ts'
import { readText } from '../../base/read-text.ts'

/** As long as what it authenticates with, SHA-256 (RFC 2104 §3). */
const RANDOM_BYTES = 32
const LEAST_BYTES = 16
const MOST_BYTES = 65_536

/**
 * The key of hashed addresses: what a file holds, without spaces around it, or a random one.
 * @throws RelayError RELAY_ERR_CONFIG
 */
export async function readAddressKey (path: string): Promise<Uint8Array> {
  if (path === '') return randomBytes(RANDOM_BYTES)
  const read = await readText(path, MOST_BYTES, 'latin1')
  if ('problem' in read) throw new RelayError('RELAY_ERR_CONFIG', `access_log.address_key_file ${path} ${read.problem}`)
  const key = Buffer.from(read.text.trim(), 'latin1')
  if (key.length < LEAST_BYTES) throw new RelayError('RELAY_ERR_CONFIG', `access_log.address_key_file ${path} must hold ${LEAST_BYTES} bytes or more`)
  return key
}
