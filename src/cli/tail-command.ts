import { RelayError } from '../base/errors.ts'
import { escaped } from '../plugins/access-log/escape.ts'

/** Longest event that is read, characters: many times a record with the longest texts. */
const MAX_EVENT = 65_536

type Shown = Readonly<Record<string, unknown>>

const text = (value: unknown): string => typeof value === 'string' || typeof value === 'number' ? escaped(String(value)) : '-'

/** A record for people; what strangers have sent can do nothing to their terminal. */
export function recordText (record: Shown): string {
  const { time, status, complete, method, url, range, bytes, ms, cache, superNode, code, remote, transport, subject } = record
  const parts = [
    text(time).slice(11, 23), text(status), text(method), text(url), ...range === undefined ? [] : [text(range)], `${text(bytes)} B`, `${text(ms)} ms`, text(cache), text(transport), text(remote),
    ...[superNode, subject, code].filter(value => value !== undefined).map(text)
  ]
  return [...parts, ...complete === false ? ['broken off'] : []].join('  ')
}

/** Server-sent events with their data, from text in pieces of any size; comments are left out. @throws RelayError RELAY_ERR_CONFIG */
export async function * eventsOf (pieces: AsyncIterable<string>): AsyncGenerator<{ readonly event: string, readonly data: string }> {
  let rest = ''
  for await (const piece of pieces) {
    const blocks = (rest + piece).split('\n\n')
    rest = blocks.pop() ?? ''
    if (rest.length > MAX_EVENT) throw new RelayError('RELAY_ERR_CONFIG', 'tail: what answers is no relay')
    for (const block of blocks) {
      const field = (name: string): string => block.split('\n').find(line => line.startsWith(`${name}: `))?.slice(name.length + 2) ?? ''
      if (field('data') !== '') yield { event: field('event'), data: field('data') }
    }
  }
}

/**
 * Prints the responses of a running relay as they end, until it ends the stream.
 * @param pieces the text of the stream
 * @throws RelayError RELAY_ERR_CONFIG
 */
export async function tailLog (pieces: AsyncIterable<string>, json: boolean, write: (line: string) => Promise<void>): Promise<void> {
  for await (const { event, data } of eventsOf(pieces)) {
    let record: Shown
    try {
      record = JSON.parse(data) as Shown
    } catch (error) {
      throw new RelayError('RELAY_ERR_CONFIG', 'tail: what answers is no relay', { cause: error })
    }
    if (event === 'request') await write(`${json ? data : recordText(record)}\n`)
    else if (event === 'lost') await write(json ? `${data.replace('{', '{"msg":"lost",')}\n` : `… ${text(record['records'])} more were not read in time\n`)
  }
}
