export interface SessionOffer {
  readonly url: string
  /** Values are base64. */
  readonly certificateHashes: readonly { readonly algorithm: 'sha-256', readonly value: string }[]
}

/** What a relay with every transport says in `/v1/transport`, as far as tools that connect by themselves need it. */
export interface TransportOffer {
  /** Its URL carries a ticket for one session. */
  readonly webtransport: SessionOffer
  readonly websocket: SessionOffer
}

/** Asks the viewer listener at `viewerUrl`. @throws Error when it refuses, or when a transport is not offered */
export async function transportOffer (viewerUrl: string): Promise<TransportOffer> {
  const response = await fetch(`${viewerUrl}/v1/transport`)
  const offer = await response.json() as Partial<TransportOffer>
  const { webtransport, websocket } = offer
  if (webtransport === undefined || websocket === undefined) throw new Error(`/v1/transport: ${response.status} ${JSON.stringify(offer)}`)
  return { webtransport, websocket }
}
