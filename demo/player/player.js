import { ConnectionCard } from './connection-card.js'
import { amount, byId, codeElement, count, element, list, millis } from './elements.js'
import { Pace } from './pace.js'
import { Playback } from './playback.js'
import { Offer } from './offer.js'
import { PlayerError, certificatePage, codeOf, openClient, wantedTransports } from './relay-connection.js'
import { ShardTable } from './shard-table.js'

const state = document.documentElement.dataset
const video = byId('video')
/** `?transport=` of the address; null when it has none. */
const limit = new URLSearchParams(location.search).get('transport')
/** Who meets one of these needs another CID. */
const NO_SUCH_VIDEO = new Set(['RELAY_ERR_SHARD_NOT_FOUND', 'BAD_CID'])

function say (text) { byId('status').textContent = text }

function showProblem (error) {
  state.state = 'error'
  state.code = codeOf(error)
  const box = byId('problem')
  box.hidden = false
  box.replaceChildren(element('p', {}, codeElement('strong', codeOf(error)), ` ${error.message}`))
  // Where something was shown before, its video is known here.
  if (!NO_SUCH_VIDEO.has(codeOf(error)) || !byId('stage').hidden) return say('The video cannot be played.')
  say('There is no video with this CID. Check it, or choose another.')
  offer()
}

/** An older relay, or one that tells nobody what it has, offers nothing: the form is there. */
function offer () {
  new Offer(limit).show().catch(() => {})
}

/** A browser tells a page nothing of a handshake that failed; the relay tells of its certificate. */
async function showNoConnection (error, transports) {
  showProblem(error)
  const page = await certificatePage(transports).catch(() => undefined)
  const all = new URL(location.href)
  all.searchParams.delete('transport')
  if (page !== undefined) {
    byId('problem').append(element('p', {},
      'The certificate of this relay is self-signed. Browsers accept one by its hash for WebTransport and not for WebSocket. Open ', element('a', { href: page }, page),
      ' in this browser, accept the certificate there (the error page behind it does not matter), and load this page again. Or give the relay a certificate that the browser trusts ([tls] cert and key).'))
  }
  if (transports !== undefined) byId('problem').append(element('p', {}, element('a', { href: all.href }, 'Play over any transport')))
}

/** Hits, misses, bytes and time of one load, on the page and in data attributes. */
class Totals {
  #startedAt = performance.now()
  #endedAt = this.#startedAt
  #hits = 0
  #misses = 0
  #bytes = 0
  #shards = 0
  #repaired = []

  constructor () { this.#show() }

  get startedAt () { return this.#startedAt }
  get ms () { return this.#endedAt - this.#startedAt }

  add ({ index, bytes, repaired, result }, at) {
    this.#endedAt = at
    if (repaired) this.#repaired.push(index)
    else {
      this.#shards++
      this.#bytes += bytes.length
      if (result.cache === 'hit') this.#hits++
      else if (result.cache === 'miss') this.#misses++
    }
    this.#show()
  }

  sentence (transport) {
    const mended = this.#repaired.length === 0 ? '' : ` ${this.#repaired.length === 1 ? 'Shard' : 'Shards'} ${list(this.#repaired)} repaired from parity.`
    return `${amount(this.#hits, 'hit', 'hits')}, ${amount(this.#misses, 'miss', 'misses')}, ${count(this.#bytes)} bytes in ${millis(this.ms)} ms over ${transport}; every digest is right.${mended}`
  }

  #show () {
    Object.assign(state, { hits: this.#hits, misses: this.#misses, bytes: this.#bytes, shards: this.#shards, repaired: this.#repaired.join(',') })
    byId('hits').textContent = `${this.#hits}`
    byId('misses').textContent = `${this.#misses}`
    byId('repaired').textContent = `${this.#repaired.length}`
    byId('bytes').textContent = count(this.#bytes)
    byId('time').textContent = this.#shards === 0 ? '…' : `${millis(this.ms)} ms`
  }
}

/** What has come of a video that failed may be watched; without any, a spinner would promise more. */
function stopVideo () {
  video.pause()
  if (video.buffered.length > 0) return
  video.removeAttribute('src')
  video.load()
  // Chromium's controls spin on, with nothing to load.
  video.controls = false
}

function reset () {
  video.pause()
  video.controls = true
  state.state = 'loading'
  for (const name of ['code', 'complete', 'digest', 'feed']) delete state[name]
  byId('problem').hidden = true
  byId('digest').textContent = '…'
}

async function load (client, cid, pace) {
  reset()
  say('Fetching the manifest…')
  const totals = new Totals()
  const manifest = await client.fetchManifest(cid).catch(error => {
    // The rows of the load before would pass for those of this one.
    byId('rows').replaceChildren()
    throw error
  })
  byId('source').textContent = `manifest: ${millis(performance.now() - totals.startedAt)} ms`
  byId('stage').hidden = false
  say(`Fetching ${manifest.dataShards} data shards of ${count(manifest.shardSize)} bytes…`)
  const table = new ShardTable(manifest.dataShards)
  const playable = /^(video|audio)\//.test(manifest.contentType)
  const playback = playable ? new Playback(video, manifest) : undefined
  if (playback !== undefined) state.feed = playback.feed
  pace.begin(manifest, playback)
  const whole = client.fetchVideo(cid, {
    manifest,
    whenToFetch: index => pace.whenToFetch(index),
    onShard: shard => {
      const at = performance.now()
      totals.add(shard, at)
      table.available(shard, at)
      table.draw(totals.startedAt, totals.ms)
      if (shard.index < manifest.dataShards) playback?.add(shard.index, shard.bytes)
      pace.settled(shard.index)
    },
    onFailure: (index, error) => {
      table.failed(index, error)
      pace.settled(index)
    }
  })
  const { verified } = await whole.finally(() => { table.close() })
  state.digest = verified ? 'ok' : 'unchecked'
  byId('digest').textContent = verified ? 'verified' : 'unchecked'
  say(totals.sentence(client.transport.transport))
  if (playback === undefined) throw new PlayerError('NOT_MEDIA', `the shards are right, but they hold ${manifest.contentType} and not a video`)
  await playback.finish()
  state.feed = playback.feed
  state.complete = 'true'
  video.play().catch(() => { if (state.state === 'loading') say('All shards are here and verified. Press play.') })
}

async function loadOnce (client, cid, pace) {
  byId('again').disabled = true
  try {
    await load(client, cid, pace)
  } catch (error) {
    stopVideo()
    if (state.digest === undefined) byId('digest').textContent = 'incomplete'
    showProblem(error)
  } finally {
    byId('again').disabled = false
  }
}

async function open (cid, transports) {
  say('Connecting…')
  state.state = 'loading'
  const card = new ConnectionCard(state, transports !== undefined)
  const pace = new Pace(state, video)
  const client = await openClient({
    // Whoever asked for these alone is told of their failure, and need not wait for seven more.
    ...transports === undefined ? {} : { transports, connectAttempts: 1 },
    onTransport: info => { card.connected(info) },
    onControl: message => { card.heard(message) },
    onBandwidth: signal => {
      card.suggested(signal)
      pace.suggest(signal)
    }
  }).catch(async error => { await showNoConnection(error, transports) })
  if (client === undefined) return
  // The connection stays, so loading again shows what it and the relay's cache are worth.
  byId('again').addEventListener('click', () => loadOnce(client, cid, pace))
  await loadOnce(client, cid, pace)
}

function start () {
  video.addEventListener('playing', () => { if (state.state !== 'error') state.state = 'playing' })
  video.addEventListener('error', () => {
    if (state.complete === 'true') showProblem(new PlayerError('MEDIA', video.error?.message || 'the browser cannot play this media'))
  })
  const parameters = new URLSearchParams(location.search)
  // The form would drop it otherwise.
  if (limit !== null) byId('open').append(element('input', { type: 'hidden', name: 'transport', value: limit }))
  const cid = parameters.get('cid')?.trim() ?? ''
  if (cid === '') {
    byId('cid').focus()
    offer()
    return
  }
  byId('cid').value = cid
  document.title = `${cid} · icn-relay player`
  if (!/^[A-Za-z0-9_-]{1,128}$/.test(cid)) throw new PlayerError('BAD_CID', 'a CID has 1 to 128 letters, digits, _ or -')
  open(cid, wantedTransports(limit)).catch(showProblem)
}

try {
  start()
} catch (error) {
  showProblem(error)
}
