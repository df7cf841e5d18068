import type { Config } from '../../config/schema.ts'

/** Puts a change in force that was prepared; it must not throw. */
export type Apply = () => void

/**
 * Checks what a concern is to take over, and gets ready for it.
 * @throws RelayError RELAY_ERR_CONFIG naming the key; then nothing of the change is applied, by nobody
 */
export type Prepare = (next: Config) => Apply | Promise<Apply>

export interface ConcernOptions {
  /** Prepared with every reload, for the sake of files that the keys name. */
  readonly always?: boolean
  /** Whether this change of its keys, of all live ones, needs a restart. */
  readonly needsRestart?: (now: Config, next: Config) => boolean
}

interface Concern extends ConcernOptions {
  readonly keys: readonly string[]
  readonly prepare: Prepare
}

/** Who takes over which keys while the relay runs. */
export class Concerns {
  readonly #concerns: Concern[] = []

  on (keys: readonly string[], prepare: Prepare, options: ConcernOptions = {}): void {
    this.#concerns.push({ ...options, keys, prepare })
  }

  /** Every key that somebody takes over. */
  keys (): Set<string> {
    return new Set(this.#concerns.flatMap(({ keys }) => keys))
  }

  /** Whether somebody takes over the key, and nobody needs a restart for it. */
  takes (key: string, now: Config, next: Config): boolean {
    const own = this.#concerns.filter(({ keys }) => keys.includes(key))
    return own.length > 0 && !own.some(({ needsRestart }) => needsRestart?.(now, next) === true)
  }

  /** Gets everybody ready whom the changed keys concern, in the order in which they asked. @param files whether those with files count too */
  async prepare (next: Config, changed: ReadonlySet<string>, files: boolean): Promise<Apply[]> {
    const applies: Apply[] = []
    for (const { keys, prepare, always = false } of this.#concerns) {
      if ((files && always) || keys.some(key => changed.has(key))) applies.push(await prepare(next))
    }
    return applies
  }
}
