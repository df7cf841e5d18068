import { hexOf } from '../../src/protocol/repr-digest.ts'
import { ShardClientError } from './client-error.ts'
import { statedSha256 } from './digest.ts'
import type { FetchRequest } from './fetch-object.ts'
import type { ClientPlatform } from './platform.ts'
import type { RelayResponse } from './relay-connection.ts'

/** Nothing is compared where one of them is not known. */
export function compare (actual: string | undefined, expected: string | undefined): void {
  if (actual !== undefined && expected !== undefined && actual !== expected) throw new ShardClientError('digest', `the object hashes to ${actual}, not to ${expected}`)
}

/** @returns whether the bytes were compared with a hash; false where there is none, or no way to compute one @throws ShardClientError digest */
export async function isRight (bytes: Uint8Array, { status, fields }: RelayResponse, { verify, blocks, sha256 }: FetchRequest, platform: ClientPlatform): Promise<boolean> {
  if (!verify) return false
  if (status === 206) {
    await blocks?.verify(bytes)
    return blocks !== undefined
  }
  const expected = sha256 ?? statedSha256(fields)
  if (expected === undefined || platform.sha256 === undefined) return false
  compare(hexOf(await platform.sha256(bytes)), expected)
  return true
}
