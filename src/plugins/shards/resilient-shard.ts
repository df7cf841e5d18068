import { RelayError } from '../../base/errors.ts'
import type { OpenObject } from './open-objects.ts'
import { sameObject, type OpenShard, type OpenSource } from './open-shard.ts'

/** Where the bytes of an open object may come from instead. */
export interface OtherSources {
  /** Times that wrong bytes may be given up for others. */
  readonly maxMoves: number
  /** Opens the object anew, after its bytes were wrong. */
  readonly again: () => Promise<OpenSource>
  /** Brings it in from a super-node, after the disk has failed. */
  readonly replace: (cause: unknown) => Promise<OpenSource>
  /** Told when its viewer has given it back. */
  readonly released: () => void
}

/**
 * A disk that fails in the middle of a body costs the viewer nothing: the rest comes from a super-node, same key, same bytes. Nor does a fill
 * whose bytes are wrong, as long as this viewer has been given none of them.
 * @param opened of which reads end once it is revoked
 */
export function resilient (first: OpenSource, opened: OpenObject, { maxMoves, again, replace, released: gone }: OtherSources): OpenShard {
  let source = first
  let released = false
  let given = false
  let moves = 0
  const move = async (error: unknown): Promise<void> => {
    const wrong = source.wrong() && !given && moves++ < maxMoves
    const diskFailed = !(error instanceof RelayError) && source === first
    if (released || !(wrong || diskFailed)) throw error
    const replacement = wrong ? await again() : await replace(error)
    // Of wrong bytes the digest says nothing, unless it is the one of the manifest.
    const same = sameObject(wrong && !first.verified ? { size: first.size, sha256: undefined } : first, replacement)
    if (released || !same) {
      replacement.release()
      throw wrong ? error : new RelayError('RELAY_ERR_CACHE_READ', 'the cached object could not be read', { cause: error })
    }
    source.release()
    source = replacement
  }
  const read: OpenShard['read'] = async (position, length, end, into) => {
    for (let memory = into; ; memory = undefined) {
      opened.throwIfRevoked()
      try {
        const bytes = await source.read(position, length, end, memory)
        opened.throwIfRevoked()
        given = true
        return bytes
      } catch (error) {
        // The next read is not into memory that one which was given up may still fill.
        await move(error)
      }
    }
  }
  return {
    ...first,
    read,
    whenRevoked: listener => { opened.whenRevoked(listener) },
    release: () => {
      released = true
      gone()
      source.release()
    }
  }
}
