import { DATA_SHARDS, TOTAL_SHARDS, type ObjectPart, type ShardKey } from '../../protocol/shard-key.ts'

/** In the order in which a player asks: the manifest, then the data shards. Parity is asked for only where data is missing. */
const ORDER: readonly ObjectPart[] = ['manifest', ...Array.from({ length: DATA_SHARDS }, (_, part) => part)]

/**
 * What will be asked for after an object: the data shards of its video behind it, then the videos that come next.
 * @param count objects at most
 * @param next CIDs of the videos that are watched next; asked for only when the own video does not fill `count`
 */
export function objectsAfter ({ cid, part }: ShardKey, count: number, next: (cid: string) => readonly string[]): ShardKey[] {
  const place = ORDER.indexOf(part)
  if (place < 0) return []
  const after = ORDER.slice(place + 1, place + 1 + count).map((rest): ShardKey => ({ cid, part: rest }))
  if (after.length === count) return after
  const ids = new Set([cid])
  for (const other of next(cid)) {
    if (ids.has(other)) continue
    ids.add(other)
    after.push(...ORDER.slice(0, count - after.length).map((rest): ShardKey => ({ cid: other, part: rest })))
  }
  return after
}

/** The first parity shard that is not there, for a data shard that nobody has: viewers and repair need one in its place. */
export function parityFor ({ cid, part }: ShardKey, has: (key: ShardKey) => boolean): ShardKey | undefined {
  if (part === 'manifest' || part >= DATA_SHARDS) return undefined
  return Array.from({ length: TOTAL_SHARDS - DATA_SHARDS }, (_, n): ShardKey => ({ cid, part: DATA_SHARDS + n })).find(key => !has(key))
}
