import type { CheckedManifest } from './verify-manifest.ts'

/** The manifest that one node has of a CID. */
export interface Claim extends CheckedManifest {
  readonly node: string
  /** Nodes of one region are one witness: whoever runs both could make both lie. */
  readonly region: string
}

/** What the claims of several nodes come to. */
export type Belief =
  | { readonly state: 'believed', readonly claim: Claim, readonly by: 'publisher' | 'quorum' }
  /** Nobody says anything, or too few say the same. */
  | { readonly state: 'unsure', readonly claims: readonly Claim[] }
  /** Nodes contradict each other, and none is believed. */
  | { readonly state: 'conflict', readonly claims: readonly Claim[] }

/** @param quorum regions that must say the same, byte for byte, of a manifest that no publisher signed */
export function judgeClaims (claims: readonly Claim[], quorum: number): Belief {
  const signed = claims.filter(({ publisher }) => publisher !== undefined)
  // Of two that a publisher signed the newer one counts; of two of the same age the first that came.
  const [newest] = signed.toSorted((a, b) => (b.manifest.createdAt ?? 0) - (a.manifest.createdAt ?? 0))
  if (newest !== undefined) return { state: 'believed', claim: newest, by: 'publisher' }
  const regions = new Map<string, Set<string>>()
  for (const { digest, region } of claims) regions.set(digest, (regions.get(digest) ?? new Set()).add(region))
  const agreed = claims.find(({ digest }) => (regions.get(digest)?.size ?? 0) >= quorum)
  if (agreed !== undefined) return { state: 'believed', claim: agreed, by: 'quorum' }
  return { state: regions.size > 1 ? 'conflict' : 'unsure', claims }
}
