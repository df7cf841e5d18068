import { ShardClientError } from './client-error.ts'

/** A CID keeps its case, which `URL` would leave to the browser. */
const URI = /^icn:\/\/([A-Za-z0-9_-]{1,128})(\/[^?#]*)?$/

/**
 * The CID of `icn://CID`. A path after it is of a directory, and there are no manifests of directories.
 * @throws ShardClientError uri
 */
export function cidOfUri (uri: string): string {
  const [, cid, path = '/'] = URI.exec(uri) ?? []
  if (cid === undefined) throw new ShardClientError('uri', 'the address of a file is icn:// and its CID, 1 to 128 of A-Z a-z 0-9 _ -')
  if (path !== '/') throw new ShardClientError('uri', 'the address names a path, and a CID is one file')
  return cid
}
