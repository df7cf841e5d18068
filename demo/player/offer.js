// What the page offers when its address names no video, or one that nobody has: those in the relay's cache, newest first.

import { byId, element } from './elements.js'

export class Offer {
  #limit

  /** @param limit the transports the address of the page names, null for all */
  constructor (limit) {
    this.#limit = limit
  }

  async show () {
    const response = await fetch('recent', { cache: 'no-store' })
    if (response.status !== 200) return
    const { videos } = await response.json()
    byId('offer').hidden = false
    byId('offer-none').hidden = videos.length > 0
    byId('videos').replaceChildren(...videos.map(video => this.#item(video)))
  }

  #item ({ cid, storedAt }) {
    const query = new URLSearchParams({ cid, ...this.#limit === null ? {} : { transport: this.#limit } })
    const time = element('time', { dateTime: storedAt, className: 'note' }, `stored ${new Date(storedAt).toLocaleString('en-GB', { dateStyle: 'medium', timeStyle: 'medium' })}`)
    return element('li', {}, element('a', { href: `?${query}`, className: 'mono' }, cid), ' ', time)
  }
}
