import { deferred } from '../../base/deferred.ts'
import { systemCode } from '../../base/errors.ts'

/** What `p2p.enabled` needs, with the versions that work with each other and with Node 20: optional peers in package.json. */
export const P2P_PACKAGES = [
  'libp2p@2', '@libp2p/tcp@10', '@chainsafe/libp2p-noise@16', '@chainsafe/libp2p-yamux@7', '@libp2p/kad-dht@15', '@libp2p/identify@3', '@libp2p/ping@2', '@libp2p/crypto@5',
  '@multiformats/multiaddr@12', 'multiformats@13'
] as const

export class MissingPackagesError extends Error {
  override readonly name = 'MissingPackagesError'
}

/** Packages that libp2p stands on use `Promise.withResolvers`, which Node 20 has not; only the thread of libp2p gets it. */
function withResolvers (): void {
  if (!('withResolvers' in Promise)) Object.defineProperty(Promise, 'withResolvers', { value: deferred, configurable: true, writable: true })
}

/** The only place that names these packages outside of types. @throws MissingPackagesError saying what to install */
export async function loadLibp2p () {
  withResolvers()
  try {
    const [{ createLibp2p }, { tcp }, { noise }, { yamux }, { kadDHT, passthroughMapper, removePrivateAddressesMapper }, { identify }, { ping }, { privateKeyFromRaw }, { multiaddr }, { CID }, Digest] = await Promise.all([
      import('libp2p'), import('@libp2p/tcp'), import('@chainsafe/libp2p-noise'), import('@chainsafe/libp2p-yamux'), import('@libp2p/kad-dht'), import('@libp2p/identify'), import('@libp2p/ping'),
      import('@libp2p/crypto/keys'), import('@multiformats/multiaddr'), import('multiformats/cid'), import('multiformats/hashes/digest')
    ])
    return { createLibp2p, tcp, noise, yamux, kadDHT, passthroughMapper, removePrivateAddressesMapper, identify, ping, privateKeyFromRaw, multiaddr, CID, Digest }
  } catch (error) {
    if (systemCode(error) !== 'ERR_MODULE_NOT_FOUND') throw error
    throw new MissingPackagesError(`p2p.enabled needs packages that are not installed; in the directory of the relay: npm install ${P2P_PACKAGES.join(' ')}`, { cause: error })
  }
}

export type Libp2pModules = Awaited<ReturnType<typeof loadLibp2p>>
