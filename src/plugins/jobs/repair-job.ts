import type { JobWork } from './jobs.ts'
import type { Restore, ShardFate } from './restore.ts'

/** What operators see of a repair. */
export interface RepairProgress {
  readonly type: 'repair'
  readonly cid: string
  /** By number of the shard. */
  readonly shards: ShardFate[]
}

/** Checks and restores all shards of a video; a relay that ends forgets it. */
export class RepairJob implements JobWork {
  readonly type = 'repair'
  readonly #cid: string
  readonly #restore: Pick<Restore, 'begin' | 'shard' | 'shards'>
  readonly #shards: ShardFate[]

  constructor (cid: string, restore: Pick<Restore, 'begin' | 'shard' | 'shards'>) {
    this.#cid = cid
    this.#restore = restore
    this.#shards = restore.shards.map(() => 'pending')
  }

  get subject (): string { return this.#cid }

  report (): RepairProgress {
    return { type: this.type, cid: this.#cid, shards: [...this.#shards] }
  }

  async run (signal: AbortSignal, changed: () => void): Promise<string | null> {
    const restore = this.#restore
    const expected = await restore.begin(this.#cid)
    for (const part of restore.shards) {
      if (signal.aborted) throw signal.reason
      this.#shards[part] = await restore.shard({ cid: this.#cid, part }, expected(part), signal)
      changed()
    }
    const without = this.#shards.flatMap((fate, part) => fate === 'lost' || fate === 'unstored' ? [`${part} (${fate})`] : [])
    return without.length === 0 ? null : `without shards ${without.join(', ')}`
  }
}
