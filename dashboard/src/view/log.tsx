import { useEffect, useMemo, useState } from 'preact/hooks'
import { bytesText, clockText, countText, msText, plural } from '../model/format.ts'
import { LogFeed, MAX_LINES, type LogFilter, type LogLine } from '../model/log-feed.ts'
import { Badge, Card, Failure, Field, Table, type Tone } from './parts.tsx'
import { useRelay, useTurns } from './relay-context.ts'

/** Lines that are drawn; the feed keeps more. */
const SHOWN = 200
const EVERYTHING: LogFilter = { object: '', address: '', status: '', slowerThanMs: '', admin: false }

const toneOf = (status: number): Tone => status >= 500 || status === 0 ? 'bad' : status >= 400 ? 'fair' : 'good'

const STATES = { off: 'stopped', joining: 'joining', live: 'live', waiting: 'waiting to join again' } as const

/** Responses as they end. */
export function Log () {
  const relay = useRelay()
  const turn = useTurns()
  const feed = useMemo(() => new LogFeed({ api: relay.api, timers: relay.timers, changed: turn }), [relay, turn])
  const [typed, setTyped] = useState(EVERYTHING)
  const [filter, setFilter] = useState(EVERYTHING)
  const { active } = relay
  useEffect(() => {
    if (active) feed.start(filter)
    return () => { feed.stop() }
  }, [feed, filter, active])
  const unauthorized = feed.error?.status === 401
  useEffect(() => {
    if (unauthorized) relay.lock()
  }, [relay, unauthorized])
  const set = (part: Partial<LogFilter>): void => { setTyped(before => ({ ...before, ...part })) }
  const lines = feed.lines.slice(-SHOWN).reverse()
  return (
    <>
      <Card title='Filter' wide>
        <form class='fields' onSubmit={event => { event.preventDefault(); feed.clear(); setFilter({ ...typed }) }}>
          <Field label='Object' value={typed.object} change={object => { set({ object: object.trim() }) }} placeholder='CID or CID/part' />
          <Field label='Address' value={typed.address} change={address => { set({ address: address.trim() }) }} placeholder='192.0.2.7' />
          <Field label='Status' value={typed.status} change={status => { set({ status: status.trim() }) }} placeholder='5xx' pattern='[1-5](xx|[0-9]{2})' />
          <Field label='Slower than, ms' value={typed.slowerThanMs} change={slowerThanMs => { set({ slowerThanMs: slowerThanMs.trim() }) }} placeholder='500' pattern='[0-9]+' />
          <label class='check'><input type='checkbox' checked={typed.admin} onChange={event => { set({ admin: event.currentTarget.checked }) }} /> admin requests too</label>
          <button type='submit'>Apply</button>
        </form>
      </Card>
      <Card
        title='Responses as they end' wide
        about={`The latest ${SHOWN}, newest first; ${MAX_LINES} are kept.`}
        actions={<><Badge tone={feed.state === 'live' ? 'good' : 'fair'}>{STATES[feed.state]}</Badge><button type='button' class='quiet' onClick={() => { feed.clear() }}>Clear</button></>}
      >
        <Failure error={feed.error} />
        {feed.lost > 0 ? <p class='failure'>{plural(feed.lost, 'record')} did not come in time and are not shown.</p> : null}
        <Table<LogLine>
          caption='Responses as they end' rows={lines} keyOf={({ number }) => String(number)} empty={feed.state === 'live' ? 'Nothing has ended since you look.' : 'Joining …'}
          columns={[
            { name: 'Time', cell: ({ record }) => clockText(Date.parse(record.time)) },
            { name: 'Status', cell: ({ record }) => <><Badge tone={toneOf(record.status)}>{record.status === 0 ? 'none' : record.status}</Badge>{record.complete ? null : <small class='below'>broken off</small>}</> },
            { name: 'Request', cell: ({ record }) => <><code class='long'>{record.method} {record.object ?? record.url}</code>{record.code === undefined ? null : <small class='below'><code class='long'>{record.code}</code></small>}<small class='below narrow'>{[record.remote, record.transport, record.cache].filter(word => word !== undefined).join(' · ')}</small></> },
            { name: 'Transport', extra: true, cell: ({ record }) => record.transport },
            { name: 'Cache', extra: true, cell: ({ record }) => record.cache ?? '' },
            { name: 'Bytes', number: true, extra: true, cell: ({ record }) => bytesText(record.bytes) },
            { name: 'First byte', number: true, extra: true, cell: ({ record }) => msText(record.firstByteMs) },
            { name: 'Total', number: true, cell: ({ record }) => msText(record.ms) },
            { name: 'Viewer', extra: true, cell: ({ record }) => <><code>{record.remote}</code>{record.subject === undefined ? null : <small class='below'>{record.subject}</small>}</> },
            { name: 'Super-node', extra: true, cell: ({ record }) => record.superNode ?? '' },
            { name: 'User agent', extra: true, cell: ({ record }) => <span class='long'>{record.userAgent ?? ''}</span> }
          ]}
        />
        <p class='about'>{countText(feed.lines.length)} kept.</p>
      </Card>
    </>
  )
}
