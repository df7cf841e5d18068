// The table of shards: a row for each, filled in as the shard arrives, fails or is repaired.

import { badge, byId, codeElement, count, element, millis } from './elements.js'
import { codeOf } from './relay-connection.js'

const KINDS = { hit: 'good', miss: 'fair' }

const cell = (content, className = '') => element('td', { className, role: 'cell' }, content)

/** A cell that says itself what it is where the page is too narrow for the head of the table. */
function labelled (label, content, className = '') {
  const node = cell(content, className)
  if (content !== '') node.dataset.label = label
  return node
}

const numbers = (firstByte, total, bytes) => [labelled('first byte, ms', firstByte, 'number'), labelled('total, ms', total, 'number'), labelled('bytes', bytes, 'number')]

class ShardRow {
  #head
  #bars = [element('span', { className: 'wait' }), element('span', { className: 'body' })]
  #failure
  /** Of a shard that was fetched: when its request began, its body began, and it was verified. */
  span

  constructor (index, parity) {
    this.#head = element('th', { scope: 'row', role: 'rowheader', className: 'number' }, `${index}`)
    this.node = element('tr', { role: 'row' })
    Object.assign(this.node.dataset, { shard: `${index}`, kind: parity ? 'parity' : 'data' })
    this.#blank('waiting', 'waiting…')
  }

  fetched ({ bytes, result }, endedAt) {
    const { cache, firstByteMs, totalMs, verified } = result
    const startedAt = endedAt - totalMs
    this.span = [startedAt, startedAt + firstByteMs, endedAt]
    const track = element('span', { className: 'track', ariaHidden: 'true' }, ...this.#bars)
    this.#show(cache, cell(badge(cache, KINDS[cache])), ...numbers(millis(firstByteMs), millis(totalMs), count(bytes.length)), this.#digest(verified), cell(track, 'timeline'))
  }

  failed (error) {
    this.#failure = element('span', { className: 'why' }, codeElement('code', codeOf(error)), ` ${error.message}`)
    this.#show('error', cell(badge('missing', 'bad')), element('td', { colSpan: 5, className: 'text' }, this.#failure))
  }

  repaired ({ bytes }) {
    this.#show('repaired', cell(badge('repaired', 'mended')), ...numbers('–', '–', count(bytes.length)), this.#digest(true), element('td', { className: 'text' }, this.#failure ?? ''))
  }

  /** Says so where nothing more will come. */
  close () {
    if (this.node.dataset.cache === 'waiting') this.#blank('none', 'not fetched')
  }

  draw (from, length) {
    if (this.span === undefined) return
    for (const [at, bar] of this.#bars.entries()) {
      bar.style.insetInlineStart = `${100 * (this.span[at] - from) / length}%`
      bar.style.width = `${100 * (this.span[at + 1] - this.span[at]) / length}%`
    }
  }

  #blank (cache, text) {
    this.#show(cache, cell(text, 'soft'), ...numbers('', '', ''), cell(''), cell(''))
  }

  #digest (ok) {
    this.node.dataset.digest = ok ? 'ok' : 'unchecked'
    return labelled('digest', badge(ok ? 'ok' : 'unchecked', ok ? 'good' : ''))
  }

  #show (cache, ...cells) {
    this.node.dataset.cache = cache
    this.node.replaceChildren(this.#head, ...cells)
  }
}

/** Rows for the data shards from the start, for parity shards once they are needed. */
export class ShardTable {
  #rows = new Map()
  #dataShards

  constructor (dataShards) {
    this.#dataShards = dataShards
    byId('rows').replaceChildren()
    for (let index = 0; index < dataShards; index++) this.#row(index)
  }

  available (shard, at) {
    if (shard.repaired) this.#row(shard.index).repaired(shard)
    else this.#row(shard.index).fetched(shard, at)
  }

  failed (index, error) { this.#row(index).failed(error) }

  /** Nothing more will come. */
  close () {
    for (const row of this.#rows.values()) row.close()
  }

  /** Draws the time lines over `length` ms from `from`. */
  draw (from, length) {
    for (const row of this.#rows.values()) row.draw(from, Math.max(length, 1))
  }

  #row (index) {
    const known = this.#rows.get(index)
    if (known !== undefined) return known
    const row = new ShardRow(index, index >= this.#dataShards)
    this.#rows.set(index, row)
    const after = [...this.#rows.keys()].filter(other => other > index)
    byId('rows').insertBefore(row.node, after.length === 0 ? null : this.#rows.get(Math.min(...after)).node)
    return row
  }
}
