import { createFeed } from './media-feed.js'
import { PlayerError, fetchManifest, fetchShard, sha256 } from './shard-fetch.js'

/** Shards asked for at once: below the six connections a browser opens to one host. */
const CONCURRENCY = 4

const byId = id => document.getElementById(id)
const state = document.documentElement.dataset
const video = byId('video')
const integer = new Intl.NumberFormat('en')
const millis = value => value < 10 ? value.toFixed(1) : integer.format(Math.round(value))
const list = numbers => numbers.length > 1 ? `${numbers.slice(0, -1).join(', ')} and ${numbers.at(-1)}` : `${numbers[0]}`

function say (text) { byId('status').textContent = text }

function element (name, properties, ...children) {
  const node = Object.assign(document.createElement(name), properties)
  node.append(...children)
  return node
}

function showProblem (error) {
  state.state = 'error'
  state.code = error.code ?? 'PLAYER'
  const box = byId('problem')
  box.hidden = false
  box.append(element('p', {}, element('strong', {}, error.code ?? 'Player error'), ` ${error.message}`))
  say('The video cannot be played.')
}

function showCounts (results, startedAt) {
  const done = results.filter(result => result?.bytes !== undefined)
  const hits = done.filter(result => result.cache === 'hit').length
  const misses = done.filter(result => result.cache === 'miss').length
  const bytes = done.reduce((sum, result) => sum + result.bytes.length, 0)
  const total = Math.max(startedAt, ...done.map(result => result.endedAt)) - startedAt
  Object.assign(state, { hits, misses, bytes, shards: done.length })
  byId('hits').textContent = `${hits}`
  byId('misses').textContent = `${misses}`
  byId('bytes').textContent = integer.format(bytes)
  byId('time').textContent = `${millis(total)} ms`
  return { hits, misses, bytes, total }
}

/** A table row that fills in as its shard arrives. */
class Row {
  #cells = Array.from({ length: 5 }, (_, column) => element('td', { className: column >= 1 && column <= 3 ? 'number' : '' }, column === 0 ? 'waiting' : ''))
  #bars = [element('span', { className: 'wait' }), element('span', { className: 'body' })]
  #track = element('td', {}, element('span', { className: 'track', ariaHidden: 'true' }, ...this.#bars))
  result

  constructor (index) {
    this.node = element('tr', {}, element('th', { scope: 'row', className: 'number' }, `${index}`), ...this.#cells, this.#track)
    this.node.dataset.shard = `${index}`
  }

  fill (result) {
    this.result = result
    const { cache, startedAt, firstByteAt, endedAt, bytes, digestOk, error } = result
    Object.assign(this.node.dataset, { cache: error === undefined ? cache : 'error', digest: digestOk === true ? 'ok' : 'bad' })
    if (error !== undefined) {
      this.#badge(0, 'failed', 'bad')
      for (const cell of this.#cells.slice(2)) cell.remove()
      this.#track.remove()
      Object.assign(this.#cells[1], { colSpan: 5, className: 'text' })
      this.#cells[1].replaceChildren(element('code', {}, error.code), ` ${error.message}`)
      return
    }
    this.#badge(0, cache, cache === 'hit' ? 'good' : cache === 'miss' ? 'fair' : '')
    const texts = [millis(firstByteAt - startedAt), millis(endedAt - startedAt), integer.format(bytes.length)]
    for (const [at, text] of texts.entries()) this.#cells[at + 1].textContent = text
    this.#badge(4, digestOk ? 'ok' : 'wrong', digestOk ? 'good' : 'bad')
  }

  draw (from, span) {
    if (this.result?.bytes === undefined) return
    const { startedAt, firstByteAt, endedAt } = this.result
    for (const [bar, start, end] of [[this.#bars[0], startedAt, firstByteAt], [this.#bars[1], firstByteAt, endedAt]]) {
      bar.style.insetInlineStart = `${100 * (start - from) / span}%`
      bar.style.width = `${100 * (end - start) / span}%`
    }
  }

  #badge (column, text, kind) {
    this.#cells[column].replaceChildren(element('span', { className: `badge ${kind}` }, text))
  }
}

/** Feeds what is verified, in order; a browser that refuses the stream gets a blob at the end. */
class Playback {
  #manifest
  #results
  #feed
  #next = 0

  constructor (manifest, results) {
    this.#manifest = manifest
    this.#results = results
    this.#feed = createFeed(video, manifest.contentType)
    state.feed = this.#feed.name
  }

  advance () {
    for (; this.#results[this.#next]?.digestOk === true; this.#next++) {
      // end() meets the same refusal and falls back; here it only must not go unhandled.
      this.#feed.push(this.#media(this.#next)).catch(() => {})
    }
  }

  async finish () {
    try {
      await this.#feed.end()
    } catch {
      this.#feed = createFeed(video, this.#manifest.contentType, true)
      state.feed = this.#feed.name
      for (const index of this.#results.keys()) await this.#feed.push(this.#media(index))
      await this.#feed.end()
    }
    video.play().catch(() => { if (state.state !== 'playing') say('All shards are here and verified. Press play.') })
  }

  // The padding of the last shard is not media.
  #media (index) {
    const { shardSize, size } = this.#manifest
    return this.#results[index].bytes.subarray(0, Math.max(0, Math.min(shardSize, size - index * shardSize)))
  }
}

function explainMissing (results, manifest) {
  const missing = [...results.keys()].filter(index => results[index].digestOk !== true)
  if (missing.length === 0) return
  byId('digest').textContent = 'incomplete'
  const one = missing.length === 1
  const names = `data shard${one ? '' : 's'} ${list(missing)}`
  const repairable = missing.length <= manifest.parityShards
  const hope = repairable ? `Parity could repair ${one ? 'it' : 'them'}; this player does not do that yet.` : `That is more than the ${manifest.parityShards} that parity can repair.`
  const first = results[missing[0]].error
  const why = first === undefined ? 'the bytes do not match the manifest' : `${first.code}, ${first.message}`
  throw new PlayerError('SHARDS_MISSING', `${names} ${one ? 'is' : 'are'} missing or damaged (${why}). ${hope}`)
}

async function load (cid) {
  state.state = 'loading'
  say('Fetching the manifest…')
  if (crypto.subtle === undefined) {
    throw new PlayerError('NO_SHA256', `this browser checks SHA-256 only on https:// pages and on localhost. Open http://localhost:${location.port}${location.pathname}${location.search} on the relay's own machine.`)
  }
  const { manifest, answer } = await fetchManifest(cid)
  if (manifest.cid !== cid) throw new PlayerError('BAD_MANIFEST', `the manifest is that of ${manifest.cid}`)
  byId('stage').hidden = false
  byId('source').textContent = `Manifest: ${answer.cache}, ${millis(answer.endedAt - answer.startedAt)} ms`
  const rows = Array.from({ length: manifest.dataShards }, (_, index) => new Row(index))
  byId('rows').replaceChildren(...rows.map(row => row.node))
  say(`Fetching ${manifest.dataShards} data shards of ${integer.format(manifest.shardSize)} bytes…`)

  const results = Array(manifest.dataShards).fill(undefined)
  const playback = new Playback(manifest, results)
  let next = 0
  const worker = async () => {
    while (next < results.length) {
      const index = next++
      results[index] = await fetchShard(manifest, index).catch(error => ({ error }))
      rows[index].fill(results[index])
      const { total } = showCounts(results, answer.startedAt)
      for (const row of rows) row.draw(answer.startedAt, Math.max(total, 1))
      playback.advance()
    }
  }
  await Promise.all(Array.from({ length: CONCURRENCY }, worker))
  explainMissing(results, manifest)

  const media = new Uint8Array(await new window.Blob(results.map(result => result.bytes)).arrayBuffer()).subarray(0, manifest.size)
  const whole = await sha256(media)
  byId('digest').textContent = whole === manifest.sha256 ? 'verified' : 'wrong'
  state.digest = whole === manifest.sha256 ? 'ok' : 'bad'
  if (whole !== manifest.sha256) throw new PlayerError('MEDIA_DIGEST', 'every shard matches but the whole media does not: the manifest contradicts itself')
  const { hits, misses, bytes, total } = showCounts(results, answer.startedAt)
  say(`${hits} hits, ${misses} misses, ${integer.format(bytes)} bytes in ${millis(total)} ms over http; every digest is right.`)
  if (!/^(video|audio)\//.test(manifest.contentType)) throw new PlayerError('NOT_MEDIA', `the shards are right, but they hold ${manifest.contentType} and not a video`)
  await playback.finish()
  state.complete = 'true'
}

function start () {
  byId('again').addEventListener('click', () => { location.reload() })
  video.addEventListener('playing', () => { if (state.state !== 'error') state.state = 'playing' })
  video.addEventListener('error', () => {
    if (state.complete === 'true') showProblem(new PlayerError('MEDIA', video.error?.message || 'the browser cannot play this media'))
  })
  const cid = new URLSearchParams(location.search).get('cid')?.trim() ?? ''
  if (cid === '') return byId('cid').focus()
  byId('cid').value = cid
  document.title = `${cid} · icn-relay player`
  if (!/^[A-Za-z0-9_-]{1,128}$/.test(cid)) return showProblem(new PlayerError('BAD_CID', 'a CID has 1 to 128 letters, digits, _ or -'))
  load(cid).catch(error => {
    video.pause()
    showProblem(error)
  })
}

start()
