import { RelayError } from '../../base/errors.ts'
import { escaped } from '../../plugins/access-log/escape.ts'
import { streamOfRunning } from '../ask-admin.ts'
import { ADMIN, command } from '../command.ts'

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

export const tail = command({
  name: 'tail',
  summary: 'print the responses of a running relay as they end',
  says: 'Goes on until the relay ends or this program is ended. Whoever reads slowly loses records, which are counted.',
  options: {
    ...ADMIN,
    object: { value: 'CID', says: 'of one video, or of one object of it, CID/PART' },
    address: { value: 'IP', says: 'of one viewer' },
    status: { value: '5xx', says: 'with a status, or a hundred of them', mustBe: [/^[1-5](?:xx|[0-9]{2})$/, 'a status, or a hundred of them as 5xx'] },
    slower: { value: 'MS', says: 'that took longer', mustBe: [/^[0-9]{1,9}$/, 'a number of milliseconds'] },
    json: { says: 'as records of the access log' }
  },
  take: ({ object, address, status, slower, json, admin }) => {
    const filter = Object.entries({ object, address, status, slowerThanMs: slower })
    return { filter: Object.fromEntries(filter.flatMap(([name, value]) => value === undefined ? [] : [[name, value]])), json, admin }
  },
  run: async ({ filter, json, admin }, { settings, write }) => {
    await tailLog(await streamOfRunning('tail', settings(), admin, `/log/stream?${String(new URLSearchParams(filter))}`), json, write)
    return 0
  }
})
