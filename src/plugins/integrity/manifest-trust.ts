import type { CheckedManifest } from './verify-manifest.ts'

/** The manifest that one node has of a CID. */
export interface Claim extends CheckedManifest {
  readonly node: string
  /** Who vouches for it: several nodes may be one. */
  readonly witness: string
}

/** What the claims of several nodes come to. */
export type Belief =
  | { readonly state: 'believed', readonly claim: Claim, readonly by: 'publisher' | 'quorum' }
  /** Nobody says anything, or too few say the same. */
  | { readonly state: 'unsure', readonly claims: readonly Claim[] }
  /** Nodes contradict each other, and none is believed. */
  | { readonly state: 'conflict', readonly claims: readonly Claim[] }

/** @param quorum witnesses that must say the same, byte for byte, of a manifest that no publisher signed */
export function judgeClaims (claims: readonly Claim[], quorum: number): Belief {
  const signed = claims.filter(({ publisher }) => publisher !== undefined)
  // Of two that a publisher signed the newer one counts; of two of the same age the first that came.
  const [newest] = signed.toSorted((a, b) => (b.manifest.createdAt ?? 0) - (a.manifest.createdAt ?? 0))
  if (newest !== undefined) return { state: 'believed', claim: newest, by: 'publisher' }
  const witnesses = new Map<string, Set<string>>()
  for (const { digest, witness } of claims) witnesses.set(digest, (witnesses.get(digest) ?? new Set()).add(witness))
  const agreed = claims.find(({ digest }) => (witnesses.get(digest)?.size ?? 0) >= quorum)
  if (agreed !== undefined) return { state: 'believed', claim: agreed, by: 'quorum' }
  return { state: witnesses.size > 1 ? 'conflict' : 'unsure', claims }
}
