import { createHash } from 'node:crypto'
import { RelayError } from '../../base/errors.ts'
import { keyId, TOTAL_SHARDS, type ShardKey } from '../../protocol/shard-key.ts'
import type { ExpectedObject, Integrity } from '../integrity/integrity.ts'
import type { Repair } from '../repair/repair.ts'
import type { ShardCache } from '../shard-cache/shard-cache.ts'
import type { ShardService } from '../shards/shard-service.ts'

/**
 * What became of a shard: `present`, the cache had it and its bytes are right; `fetched` from a super-node; `repaired` from its siblings; `unstored`,
 * it can be had and the cache did not keep it; `lost`, nobody has it and it cannot be rebuilt.
 */
export const SHARD_FATES = ['pending', 'present', 'fetched', 'repaired', 'unstored', 'lost'] as const

export type ShardFate = (typeof SHARD_FATES)[number]

export interface RestoreOptions {
  readonly cache: Pick<ShardCache, 'open' | 'purge' | 'has'>
  readonly shards: Pick<ShardService, 'openWhole'>
  /** Undefined where objects are not compared with manifests, or nothing is repaired. */
  readonly integrity: Pick<Integrity, 'expects'> | undefined
  readonly repair: Pick<Repair, 'forget'> | undefined
}

/** Bytes read in one go to check a cached shard. */
const CHECK_BYTES = 256 * 1024

/** Checks the shards of a video one after the other, and brings in those that are missing or wrong. */
export class Restore {
  readonly #options: RestoreOptions
  /** Numbers of the shards, in the order they are restored. */
  readonly shards: readonly number[] = Array.from({ length: TOTAL_SHARDS }, (_, part) => part)

  constructor (options: RestoreOptions) {
    this.#options = options
  }

  /**
   * @returns what the believed manifest says of each shard
   * @throws RelayError RELAY_ERR_BAD_REQUEST, RELAY_ERR_UNVERIFIED
   */
  async begin (cid: string): Promise<(part: number) => ExpectedObject> {
    const { integrity, repair } = this.#options
    this.requireRepair()
    // Whoever asks for it wants it tried, however short ago that was in vain.
    repair?.forget(id => id.startsWith(`${cid}/`))
    const expected = await Promise.all(this.shards.map(async part => await integrity?.expects({ cid, part }, [])))
    return part => expected[part] ?? (() => { throw new RelayError('RELAY_ERR_UNVERIFIED', 'no manifest of the CID is believed') })()
  }

  /** @throws RelayError RELAY_ERR_BAD_REQUEST where nothing is ever repaired */
  requireRepair (): void {
    if (this.#options.repair === undefined || this.#options.integrity === undefined) {
      throw new RelayError('RELAY_ERR_BAD_REQUEST', 'shards are repaired only with repair.enabled and cache.integrity = "manifest"')
    }
  }

  /** Checks one shard, and brings it in unless it is there and right. @throws RelayError when the signal aborts, its reason */
  async shard (key: ShardKey, expected: ExpectedObject, signal: AbortSignal): Promise<Exclude<ShardFate, 'pending'>> {
    const { cache, shards } = this.#options
    const found = await this.#check(key, expected, signal)
    if (found === 'right') return 'present'
    if (found === 'wrong') cache.purge(key)
    try {
      const source = await shards.openWhole(key, { repairs: true, signal })
      await source.settled
      const { repaired, origin: { hit } } = source
      source.release()
      if (!cache.has(key)) return 'unstored'
      return repaired ? 'repaired' : hit ? 'present' : 'fetched'
    } catch (error) {
      if (signal.aborted) throw signal.reason
      // Load and the like: to be tried again, and no word about the shard.
      if (error instanceof RelayError && error.source !== 'upstream') throw new RelayError(error.code, `${keyId(key)}: ${error.message}`, { cause: error })
      return 'lost'
    }
  }

  async #check (key: ShardKey, expected: ExpectedObject, signal: AbortSignal): Promise<'right' | 'wrong' | 'missing'> {
    const cached = await this.#options.cache.open(key)
    if (cached === undefined) return 'missing'
    const hash = createHash('sha256')
    try {
      for (let at = 0; at < cached.size;) {
        if (signal.aborted) throw signal.reason
        const bytes = await cached.read(at, Math.min(CHECK_BYTES, cached.size - at))
        if (bytes.length === 0) return 'wrong'
        hash.update(bytes)
        at += bytes.length
      }
    } catch (error) {
      if (signal.aborted) throw signal.reason
      // The entry of a file that cannot be read is gone.
      if (!(error instanceof RelayError)) return 'missing'
      throw error
    } finally {
      cached.release()
    }
    return cached.size === expected.size && hash.digest('hex') === expected.sha256 ? 'right' : 'wrong'
  }
}
