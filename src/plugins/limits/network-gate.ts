import { ViewerNetworks, type NetworkLists } from '../../admission/viewer-networks.ts'
import { RelayError } from '../../base/errors.ts'
import type { Config } from '../../config/config.ts'

/** The lists of a configuration. */
export const networkLists = ({ viewer: { allow_networks: allow, deny_networks: deny } }: Pick<Config, 'viewer'>): NetworkLists => ({ allow, deny })

/** Refuses requests of viewers by their addresses. */
export class NetworkGate {
  readonly #refused: () => void
  #networks: ViewerNetworks

  /** @param refused called for each request that is refused */
  constructor (lists: NetworkLists, refused: () => void) {
    this.#networks = new ViewerNetworks(lists)
    this.#refused = refused
  }

  get networks (): ViewerNetworks { return this.#networks }

  replace (networks: ViewerNetworks): void { this.#networks = networks }

  /** @throws RelayError RELAY_ERR_VIEWER_NETWORK */
  check (ip: string): void {
    if (!this.#networks.refuses(ip)) return
    this.#refused()
    throw new RelayError('RELAY_ERR_VIEWER_NETWORK', 'viewers of this network are not served by this relay')
  }
}
