export interface SessionOffer {
  readonly url: string
  /** Values are base64. */
  readonly certificateHashes: readonly { readonly algorithm: 'sha-256', readonly value: string }[]
}

/** What a relay with every road says in `/v1/transport`, as far as tools that connect by themselves need it. */
export interface TransportOffer {
  /** Its URL carries a ticket for one session. */
  readonly webtransport: SessionOffer
  readonly websocket: SessionOffer
}

/** Asks the viewer listener at `viewerUrl`. */
export async function transportOffer (viewerUrl: string): Promise<TransportOffer> {
  return await (await fetch(`${viewerUrl}/v1/transport`)).json() as TransportOffer
}
