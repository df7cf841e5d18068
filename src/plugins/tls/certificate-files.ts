import { createPrivateKey, X509Certificate } from 'node:crypto'
import { mkdir, readFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import { createSecureContext } from 'node:tls'
import { RelayError, systemCode } from '../../base/errors.ts'
import { replaceFile } from '../../base/replace-file.ts'
import type { TlsMaterial } from '../../channel/tls-material.ts'
import type { Validity } from './renewal.ts'

/** A certificate and key that were checked to belong together. */
export interface LoadedCertificate extends Validity {
  readonly material: TlsMaterial
  readonly leaf: X509Certificate
}

/**
 * Reads and checks a configured pair.
 * @throws RelayError RELAY_ERR_CONFIG naming the file and what is wrong with it
 */
export async function loadConfigured (certFile: string, keyFile: string): Promise<LoadedCertificate> {
  return check({ cert: await readNamed('tls.cert', certFile), key: await readNamed('tls.key', keyFile) }, certFile, keyFile)
}

/** Reads a pair kept by {@link saveKept}; undefined when there is none. @throws RelayError when the file is damaged */
export async function loadKept (file: string): Promise<LoadedCertificate | undefined> {
  let text: string
  try {
    text = await readFile(file, 'utf8')
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined
    throw new RelayError('RELAY_ERR_CONFIG', `kept certificate ${file} cannot be read`, { cause: error })
  }
  const start = text.indexOf('-----BEGIN CERTIFICATE-----')
  return check({ key: text.slice(0, Math.max(start, 0)), cert: text.slice(Math.max(start, 0)) }, file, file)
}

/** Keeps a pair in one file, mode 0600, so that a crash leaves the old pair or the new one and never half of each. */
export async function saveKept (file: string, material: TlsMaterial): Promise<void> {
  await mkdir(dirname(file), { recursive: true, mode: 0o700 })
  await replaceFile(file, material.key + material.cert)
}

/** Checks that certificate and key parse, belong together and load into TLS. */
export function check (material: TlsMaterial, certName: string, keyName: string): LoadedCertificate {
  const leaf = attempt(() => new X509Certificate(material.cert), `certificate ${certName} is not a PEM certificate`)
  const key = attempt(() => createPrivateKey(material.key), `key ${keyName} is not a PEM private key`)
  if (!leaf.checkPrivateKey(key)) {
    throw new RelayError('RELAY_ERR_CONFIG', `key ${keyName} does not belong to certificate ${certName} (${leaf.subject.replaceAll('\n', ', ')})`)
  }
  attempt(() => createSecureContext({ cert: material.cert, key: material.key }), `certificate ${certName} cannot be used for TLS`)
  return { material, leaf, notBefore: Date.parse(leaf.validFrom), notAfter: Date.parse(leaf.validTo) }
}

async function readNamed (setting: string, file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8')
  } catch (error) {
    throw new RelayError('RELAY_ERR_CONFIG', `${setting} file ${file} cannot be read (${systemCode(error) ?? 'unknown error'})`, { cause: error })
  }
}

function attempt<T> (work: () => T, message: string): T {
  try {
    return work()
  } catch (cause) {
    throw new RelayError('RELAY_ERR_CONFIG', message, { cause })
  }
}
