import type { ShardKey } from '../../protocol/shard-key.ts'

/** The path of an object at a super-node, from the templates of the configuration. */
export function pathOf ({ cid, part }: ShardKey, { shardPath, manifestPath }: { readonly shardPath: string, readonly manifestPath: string }): string {
  if (part === 'manifest') return manifestPath.replaceAll('{cid}', cid)
  return shardPath
    .replaceAll('{cid}', cid)
    .replaceAll('{nn}', String(part).padStart(2, '0'))
    .replaceAll('{n}', String(part))
}
