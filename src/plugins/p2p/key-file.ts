import { createPrivateKey, generateKeyPairSync, type KeyObject } from 'node:crypto'
import { chmod, readFile, stat } from 'node:fs/promises'
import { RelayError, systemCode } from '../../base/errors.ts'
import { replaceFile } from '../../base/replace-file.ts'

/** In the cache directory, unless `p2p.key_file` says otherwise. */
export const KEY_FILE = 'p2p-key.pem'

/**
 * The seed of the Ed25519 key in a file of PKCS #8 in PEM, which nobody else may read; it is made when there is none.
 * @param made called with the file when it was
 * @returns 32 bytes
 * @throws RelayError RELAY_ERR_CONFIG
 */
export async function keySeed (file: string, made: (file: string) => void): Promise<Uint8Array> {
  try {
    const key = await readKey(file)
    if (key !== undefined) return seedOf(key, file)
    const { privateKey } = generateKeyPairSync('ed25519')
    await replaceFile(file, privateKey.export({ format: 'pem', type: 'pkcs8' }).toString())
    made(file)
    return seedOf(privateKey, file)
  } catch (error) {
    if (error instanceof RelayError) throw error
    throw new RelayError('RELAY_ERR_CONFIG', `p2p.key_file ${file} cannot be read or made: ${systemCode(error) ?? 'unknown error'}`, { cause: error })
  }
}

async function readKey (file: string): Promise<KeyObject | undefined> {
  let text: string
  try {
    text = await readFile(file, 'utf8')
    if (((await stat(file)).mode & 0o077) !== 0) await chmod(file, 0o600)
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined
    throw error
  }
  try {
    return createPrivateKey(text)
  } catch (error) {
    throw new RelayError('RELAY_ERR_CONFIG', `p2p.key_file ${file} holds no private key`, { cause: error })
  }
}

function seedOf (key: KeyObject, file: string): Uint8Array {
  const { d } = key.asymmetricKeyType === 'ed25519' ? key.export({ format: 'jwk' }) : {}
  if (d === undefined) throw new RelayError('RELAY_ERR_CONFIG', `p2p.key_file ${file} holds a key that is not Ed25519`)
  return Buffer.from(d, 'base64url')
}
