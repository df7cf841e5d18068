// Shows how the page is connected, why not in a better way, and what the relay says of itself.

import { byId, element, megabits, times } from './elements.js'

// Browsers tell a page nothing of why; this is the reason it nearly always is.
const HINTS = {
  websocket: { 'Opening handshake failed.': 'a self-signed certificate, perhaps: browsers pin one for WebTransport, not for WebSocket' }
}

const MEANING = {
  webtransport: 'WebTransport over HTTP/3, UDP',
  websocket: 'WebTransport over WebSocket, TCP',
  http: 'plain HTTP, no session'
}

/** Keeps `data-transport`, `data-reconnects`, `data-region`, `data-version`, `data-rendition` and `data-share` of the page up to date. */
export class ConnectionCard {
  #state
  #limited
  #connections = 0

  /** @param limited whether the address of the page left transports out */
  constructor (state, limited) {
    this.#state = state
    this.#limited = limited
  }

  connected ({ transport, region, failures }) {
    this.#connections++
    Object.assign(this.#state, { transport, region: region ?? '', reconnects: this.#connections - 1 })
    byId('transport').textContent = transport
    byId('meaning').textContent = MEANING[transport]
    // What the relay asked for before has been done.
    this.#event('')
    const why = transport === 'webtransport' ? [] : failures.map(({ transport: name, reason }) => [name, reason, HINTS[name]?.[reason]])
    if (transport !== 'webtransport' && this.#limited) why.push(['?transport', 'the address of this page limits the transports'])
    byId('why').hidden = why.length === 0
    byId('why').replaceChildren(...why.map(([name, reason, hint]) => element('li', {}, element('b', {}, name), `: ${reason.replace(/\.$/, '')}${hint === undefined ? '' : ` (${hint})`}`)))
    this.#relay()
  }

  heard (message) {
    this.#state.control = message.type
    if (message.type === 'hello') {
      Object.assign(this.#state, { version: message.version, region: message.region })
      this.#relay()
    } else if (message.type === 'drain') this.#event(`the relay asks its viewers to leave within ${Math.round(message.deadlineMs / 1000)} s`)
    else if (message.type === 'redirect') this.#event(`the relay sends its viewers to ${message.url}`)
  }

  /** @param signal undefined when nothing limits the viewer */
  suggested (signal) {
    Object.assign(this.#state, { rendition: signal?.suggestedRendition ?? '', share: `${signal?.bitsPerSecond ?? ''}` })
    byId('bandwidth').textContent = signal === undefined ? '' : `relay suggests ${signal.suggestedRendition} (${megabits(signal.bitsPerSecond)} Mbit/s)`
  }

  #relay () {
    const { version, region } = this.#state
    byId('relay').textContent = [version === undefined ? undefined : `icn-relay ${version}`, region || undefined].filter(part => part !== undefined).join(' · ')
    byId('reconnects').textContent = this.#connections > 1 ? `reconnected ${times(this.#connections - 1)}` : ''
  }

  #event (text) { byId('event').textContent = text }
}
