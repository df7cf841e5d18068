import { createHash } from 'node:crypto'
import { keyId, type ShardKey } from '../../protocol/shard-key.ts'
import type { NodeSpec } from './sources/node-source.ts'
import { cameFromRelay } from './tiers.ts'

/** A relay of our own tier. */
export interface Sibling {
  /** Public `http://` or `https://` origin, the same text for all relays of the tier. */
  readonly url: string
  readonly region: string
}

/** 48 bits of SHA-256: exact in a double, and no two siblings tie in practice. */
function score (url: string, id: string): number {
  return createHash('sha256').update(`${url}\n${id}`).digest().readUIntBE(0, 6)
}

/**
 * The relay of the tier that stands for a key by highest random weight (Thaler and Ravishankar, 1998): all relays that have the same
 * list name the same one, in whatever order they have it, and without one of them only its own keys move.
 * @param self our own public URL; counts as a member whether it is in the list or not
 * @returns for a key its sibling, with the normal form of its URL; undefined when that is ourselves
 */
export function rendezvous (siblings: readonly Sibling[], self: string): (key: ShardKey) => Sibling | undefined {
  const own = new URL(self).origin
  const others = siblings.map(({ url, region }) => ({ url: new URL(url).origin, region })).filter(({ url }) => url !== own)
  return key => {
    const id = keyId(key)
    let best: Sibling | undefined
    let bestUrl = own
    let bestScore = score(own, id)
    for (const sibling of others) {
      const candidate = score(sibling.url, id)
      if (candidate < bestScore || (candidate === bestScore && sibling.url <= bestUrl)) continue
      best = sibling
      bestUrl = sibling.url
      bestScore = candidate
    }
    return best
  }
}

export interface SiblingsOptions {
  readonly siblings: readonly Sibling[]
  /** Our own public URL; '' while there are no siblings. */
  readonly self: string
}

/**
 * Whom to ask before the origins, best first; the rest of the order belongs to the caller.
 * @param via members of the viewer's request; one that comes from a relay goes straight to the origins, so a key crosses the tier
 * once at most, even while relays disagree about the list
 */
export type PreferredNodes = (key: ShardKey, via: readonly string[]) => NodeSpec[]

export function preferSiblings ({ siblings, self }: SiblingsOptions): PreferredNodes {
  if (siblings.length === 0 || self === '') return () => []
  const siblingOf = rendezvous(siblings, self)
  return (key, via) => {
    const sibling = cameFromRelay(via) ? undefined : siblingOf(key)
    return sibling === undefined ? [] : [{ ...sibling, role: 'relay' }]
  }
}
