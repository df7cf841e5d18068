import { execFileSync } from 'node:child_process'

/**
 * Why what needs namespaces of Linux cannot be tried here, for the `skip` option; false when it can. In CI, where we are root, a program that is missing is a
 * failure and not a skip.
 * @param probes arguments of `unshare`, of which every one has to work
 */
export function withoutNamespaces (probes: readonly (readonly string[])[], needs: string): string | false {
  if (process.platform !== 'linux' || process.getuid?.() !== 0) return 'namespaces need Linux and root'
  try {
    for (const args of probes) execFileSync('unshare', args, { stdio: 'ignore' })
    return false
  } catch (error) {
    if (process.env['CI'] !== undefined) throw error
    return `needs ${needs}`
  }
}

/** What tests with nftables need. */
export const NFT_NEEDS = 'nft, ip and unshare, and a kernel with nf_tables (apt-get install nftables iproute2)'
