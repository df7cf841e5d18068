import { membersOf, parseDocument, signatureOf, signedText } from '../../src/protocol/signed-json.ts'
import { bytesOfBase64 } from '../../src/protocol/repr-digest.ts'
import { ShardClientError, reasonText } from './client-error.ts'
import type { ClientPlatform } from './platform.ts'

/* Only who names publishers loads this. */

function refuse (_fault: string, detail: string): never {
  throw new ShardClientError('manifest', `the manifest is not usable: ${detail}`)
}

/**
 * Checks that one of these keys has signed a manifest, read as a relay reads it.
 * @param publishers raw Ed25519 keys, base64
 * @throws ShardClientError manifest
 */
export async function checkPublisher (bytes: Uint8Array, publishers: readonly string[], { ed25519 }: ClientPlatform): Promise<void> {
  const document = membersOf(parseDocument(bytes, Infinity, 'the manifest', refuse), 'the manifest', refuse)
  const signature = signatureOf(document['signature'], refuse) ?? refuse('unsigned', 'it is not signed')
  if (!publishers.includes(signature.publicKey)) refuse('publisher', 'none of the publishers has signed it')
  const [key, value] = [bytesOfBase64(signature.publicKey), bytesOfBase64(signature.value)]
  if (key?.length !== 32 || value?.length !== 64) return refuse('signature', 'its signature has another length')
  if (ed25519 === undefined) return refuse('signature', 'this platform cannot check signatures')
  const isSigned = await ed25519(key, value, new TextEncoder().encode(signedText(document))).catch((error: unknown) => refuse('signature', `its signature could not be checked: ${reasonText(error)}`))
  if (!isSigned) refuse('signature', 'its signature is wrong')
}
