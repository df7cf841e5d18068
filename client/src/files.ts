/** `icn-relay-client/files` in browsers: files of a relay, by byte and not by shard. */
import { FileClient } from './file-client.ts'
import type { FileClientOptions } from './file-client.ts'
import { connect as connectShards } from './index.ts'

export * from './file-library.ts'

/**
 * Connects from a browser.
 * @param relays URLs of viewer HTTP surfaces, http or https: the first, and those to go to when it cannot be reached
 * @throws ShardClientError connect; or the reason of the signal
 */
export async function connect (relays: string | readonly string[], options: FileClientOptions = {}): Promise<FileClient> {
  return await FileClient.connect(relays, options, connectShards)
}
