/** What a relay with every road says in `/v1/transport`, as far as tools that connect by themselves need it. */
export interface TransportOffer {
  /** Values are base64. */
  readonly webtransport: { readonly url: string, readonly certificateHashes: readonly { readonly algorithm: 'sha-256', readonly value: string }[] }
  readonly websocket: { readonly url: string }
}

/** Asks the viewer listener at `viewerUrl`. */
export async function transportOffer (viewerUrl: string): Promise<TransportOffer> {
  return await (await fetch(`${viewerUrl}/v1/transport`)).json() as TransportOffer
}
