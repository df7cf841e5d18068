// Stands in for WebSocket in the ponyfill of fails-components 1.6.8, which asks for `wss://host:port//path`.
export class WebSocket extends globalThis.WebSocket {
  constructor (url, protocols) {
    super(url.replace(/^(wss?:\/\/[^/]+)\/\/+/, '$1/'), protocols)
  }
}
