/** Three super-nodes in a process of their own for `integrity.ts`: any CID has the same shards, and a manifest that a publisher signed. */
import { startManifestOrigin } from '../tools/harness/manifest-origin.ts'
import { makePublisher, manifestBody, manifestText, signedBody, videoShards } from '../tools/harness/manifests.ts'

/** What the process says once it listens. */
export interface OriginsReady {
  readonly publisher: string
  readonly superNodes: readonly { readonly url: string, readonly region: string }[]
}

const SHARD_BYTES = 1_048_576
const publisher = makePublisher()
const shards = videoShards('any', SHARD_BYTES)
const body = manifestBody('any', shards)
// Super-nodes have their manifests ready; signing them here would be measured too.
const manifests = new Map(Array.from({ length: Number(process.argv[2] ?? 0) }, (_, n) => [`QmMiss${n}`, manifestText(signedBody({ ...body, cid: `QmMiss${n}` }, publisher))]))
const origins = await Promise.all(['NA-WEST', 'EU-WEST', 'APAC'].map(async region => await startManifestOrigin({
  region, digest: true, object: ({ cid, part }) => part === 'manifest' ? manifests.get(cid) : shards[part]
})))
const ready: OriginsReady = { publisher: publisher.key, superNodes: origins.map(({ url, region }) => ({ url, region })) }
process.send?.(ready)
process.once('disconnect', () => { process.exit() })
