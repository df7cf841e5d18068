import type { OpenShard } from '../../src/plugins/shards/open-shard.ts'

/** An opened object of these bytes. @param changes what is to be different, such as `read` or `release` */
export function openShardOf (body: Buffer, changes: Partial<OpenShard> = {}): OpenShard {
  return {
    key: { cid: 'v', part: 0 },
    size: body.length,
    sha256: undefined,
    origin: { hit: true, tier: 'ram', storedAt: 0 },
    verified: true,
    lasting: true,
    buffer: body,
    file: undefined,
    read: async (position, length) => body.subarray(position, position + length),
    whenRevoked: () => {},
    release: () => {},
    ...changes
  }
}
