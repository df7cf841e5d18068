// Connects to the relay that served this page, with the client library it serves beside it.

/** A failure worth showing: `code` is the relay's, the library's, or one of this page. */
export class PlayerError extends Error {
  constructor (code, detail, options) {
    super(detail, options)
    this.code = code
  }
}

/** The name an error is shown under. */
export const codeOf = error => error.code ?? (error.fault === undefined ? 'PLAYER' : `CLIENT_${error.fault.toUpperCase().replaceAll('-', '_')}`)

const loadLibrary = async () => {
  try {
    return await import('./client/client.js')
  } catch (error) {
    throw new PlayerError('NO_CLIENT', 'client/client.js cannot be loaded. On the relay\'s machine run "npm run build", then start the relay again.', { cause: error })
  }
}

/** Where the certificate can be accepted that keeps a browser from connecting over WebSocket, as it nearly always is; undefined otherwise. */
export async function certificatePage (wanted) {
  if (wanted?.includes('websocket') !== true) return undefined
  const { websocket } = await (await fetch('/v1/transport?ticket=none', { cache: 'no-store' })).json()
  if (websocket === undefined || websocket.certificateHashes.length === 0) return undefined
  return `https://${new URL(websocket.url).host}/`
}

/** Transports that `?transport=` names, best first; undefined when it is absent. @throws PlayerError */
export function wantedTransports (text) {
  if (text === null || text.trim() === '') return undefined
  const names = text.split(',').map(name => name.trim())
  const known = ['webtransport', 'websocket', 'http']
  if (!names.every(name => known.includes(name))) throw new PlayerError('BAD_TRANSPORT', `transport is one or more of ${known.join(', ')}`)
  return names
}

/**
 * A ShardClient of the library.
 * @param options transports, onTransport, onControl and onBandwidth as the library takes them
 * @throws PlayerError NO_CLIENT, NO_SHA256; ShardClientError
 */
export async function openClient (options) {
  if (crypto.subtle === undefined) {
    throw new PlayerError('NO_SHA256', `this browser checks SHA-256 only on https:// pages and on localhost. Open http://localhost:${location.port}${location.pathname}${location.search} on the relay's own machine.`)
  }
  const { connect, systemPlatform } = await loadLibrary()
  return await connect(location.origin, {
    ...options,
    // The page shows the relay's cache, so the browser's own stays out of it.
    platform: { ...systemPlatform(), fetch: (url, init) => fetch(url, { ...init, cache: 'no-store' }) }
  })
}
