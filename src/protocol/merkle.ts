/* Runs in browsers too, so the hash is an argument. */

/** SHA-256 of the parts, one after the other. */
export type Sha256 = (...parts: readonly Uint8Array[]) => Uint8Array

/** What is hashed before a leaf and before a node: without it a node could pass for a leaf (RFC 6962 §2.1). */
const LEAF = Uint8Array.of(0)
const NODE = Uint8Array.of(1)

function levelAbove (level: readonly Uint8Array[], sha256: Sha256): Uint8Array[] {
  const above: Uint8Array[] = []
  for (let at = 0; at < level.length; at += 2) {
    const [left, right] = level.slice(at, at + 2)
    if (left !== undefined) above.push(right === undefined ? left : sha256(NODE, left, right))
  }
  return above
}

function leavesOf (hashes: readonly Uint8Array[], sha256: Sha256): Uint8Array[] {
  if (hashes.length === 0) throw new RangeError('a tree needs at least one hash')
  return hashes.map(hash => sha256(LEAF, hash))
}

/**
 * Root of the tree over hashes, the one of RFC 6962 §2.1: a leaf is SHA-256(0x00 || hash), a node is SHA-256(0x01 || left || right), and the
 * odd node at the end of a level moves up unchanged.
 * @throws RangeError when there are no hashes
 */
export function merkleRoot (hashes: readonly Uint8Array[], sha256: Sha256): Uint8Array {
  let level = leavesOf(hashes, sha256)
  while (level.length > 1) level = levelAbove(level, sha256)
  return level[0] ?? new Uint8Array(0)
}

/**
 * The siblings on the way from a leaf to the root, the lowest first; at most ceil(log2(n)) of them.
 * @throws RangeError when there is no such leaf
 */
export function merkleProof (hashes: readonly Uint8Array[], index: number, sha256: Sha256): Uint8Array[] {
  if (!Number.isInteger(index) || index < 0 || index >= hashes.length) throw new RangeError(`there is no leaf ${index} among ${hashes.length}`)
  const proof: Uint8Array[] = []
  let position = index
  for (let level = leavesOf(hashes, sha256); level.length > 1; level = levelAbove(level, sha256)) {
    const sibling = level[position ^ 1]
    if (sibling !== undefined) proof.push(sibling)
    position >>= 1
  }
  return proof
}

/** The root that a proof leads to; undefined when it has too few or too many siblings for a tree of `count` leaves. */
export function rootOfProof (hash: Uint8Array, index: number, count: number, proof: readonly Uint8Array[], sha256: Sha256): Uint8Array | undefined {
  if (!Number.isInteger(index) || index < 0 || index >= count) return undefined
  let node = sha256(LEAF, hash)
  let used = 0
  let position = index
  for (let width = count; width > 1; width = Math.ceil(width / 2)) {
    // The odd node at the end has no sibling.
    if ((position ^ 1) < width) {
      const sibling = proof[used++]
      if (sibling === undefined) return undefined
      node = position % 2 === 0 ? sha256(NODE, node, sibling) : sha256(NODE, sibling, node)
    }
    position >>= 1
  }
  return used === proof.length ? node : undefined
}
