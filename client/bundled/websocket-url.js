// Stands in for WebSocket in the ponyfill of fails-components 1.6.8, which asks for `wss://host:port//path`.
// Node 20, where this is only loaded, has none.
export class WebSocket extends (globalThis.WebSocket ?? Object) {
  constructor (url, protocols) {
    super(url.replace(/^(wss?:\/\/[^/]+)\/\/+/, '$1/'), protocols)
  }
}
