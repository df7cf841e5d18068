import { useState } from 'preact/hooks'
import { agoText, bytesText, countText, UNKNOWN } from '../model/format.ts'
import type { DenylistAnswer } from '../model/wire.ts'
import { useConfirm } from './dialogs.tsx'
import { Badge, Card, Failure, Field, Table } from './parts.tsx'
import { usePolled } from './relay-context.ts'

/** Entries that a page can show. */
const SHOWN = 200

/** What must not be served. */
export function Denylist () {
  const confirm = useConfirm()
  const { value, error, again } = usePolled<DenylistAnswer>('/denylist', 5_000)
  const [entry, setEntry] = useState('')
  const [reason, setReason] = useState('')
  const [asked, setAsked] = useState('')
  const block = (): void => {
    const name = entry.trim()
    confirm({
      title: `Block ${name}?`,
      text: 'Requests for it get 451 from now on, over every transport; what is read or fetched of it ends, and what is cached goes. It holds over restarts.',
      verb: 'Block',
      typed: name,
      run: async api => {
        const { added } = await api.write<{ added: number }>('POST', '/denylist/entries', { entries: [name], reason: reason.trim() })
        return added === 1 ? 'It is blocked.' : 'It was blocked already.'
      },
      done: again
    })
  }
  const unblock = (name: string): void => {
    confirm({
      title: `Unblock ${name}?`,
      text: 'It is served again, unless another list denies it.',
      verb: 'Unblock',
      typed: name,
      run: async api => {
        await api.write('DELETE', `/denylist/entries/${encodeURIComponent(name)}`)
        return 'It is not on this list any more.'
      },
      done: again
    })
  }
  const check = (): void => {
    const name = asked.trim()
    confirm({
      title: `Is ${name} denied?`,
      text: 'Looks it up in all lists; nothing changes.',
      verb: 'Look it up',
      run: async api => {
        const { denied, sources } = await api.get<{ denied: boolean, sources: readonly string[] }>(`/denylist/cids/${encodeURIComponent(name)}`)
        return denied ? `Denied, by ${sources.join(' and ')}.` : 'Not denied.'
      }
    })
  }
  const reload = (): void => {
    confirm({
      title: 'Read the lists again?',
      text: 'Reads the file and asks the URL. A list that cannot be used leaves the one of before.',
      verb: 'Read again',
      run: async api => `${countText((await api.write<DenylistAnswer>('POST', '/denylist/reload')).entries)} entries.`,
      done: again
    })
  }
  const own = value?.own ?? []
  return (
    <>
      <Card title='Block' about='A CID, or the beginning of CIDs and *, or // and a SHA-256.'>
        <form class='fields' onSubmit={event => { event.preventDefault(); block() }}>
          <Field label='CID' value={entry} change={setEntry} required />
          <Field label='Reason' value={reason} change={setReason} />
          <button type='submit' class='danger'>Block …</button>
        </form>
      </Card>
      <Card title='Look up' about='Whether a CID is denied, and by which lists.'>
        <form class='fields' onSubmit={event => { event.preventDefault(); check() }}>
          <Field label='CID' value={asked} change={setAsked} pattern='[A-Za-z0-9_\-]{1,128}' required />
          <button type='submit'>Is it denied?</button>
        </form>
      </Card>
      <Card title='Lists' wide actions={<button type='button' class='quiet' onClick={reload}>Read again …</button>}>
        <Failure error={error} />
        <Table
          caption='Lists' rows={value?.lists ?? []} keyOf={({ source }) => source} empty='Asking …'
          columns={[
            { name: 'List', cell: ({ source }) => source },
            { name: 'Entries', number: true, cell: ({ entries }) => countText(entries) },
            { name: 'Memory', number: true, extra: true, cell: ({ bytes }) => bytesText(bytes) },
            { name: 'Bad lines', number: true, cell: ({ badLines }) => countText(badLines) },
            { name: 'As of', cell: ({ at }) => at === null ? UNKNOWN : agoText(at, Date.now()) },
            { name: 'Problem', cell: ({ problem }) => problem === null ? <Badge tone='good'>none</Badge> : problem }
          ]}
        />
      </Card>
      <Card title='Blocked by operators' wide about={own.length > SHOWN ? `The latest ${SHOWN} of ${own.length}.` : 'The latest first.'}>
        <Table
          caption='Blocked by operators' rows={own.slice(0, SHOWN)} keyOf={row => row.entry} empty='Nothing is.'
          columns={[
            { name: 'Entry', cell: row => <code>{row.entry}</code> },
            { name: 'Reason', cell: row => row.reason === '' ? UNKNOWN : row.reason },
            { name: 'Since', extra: true, cell: ({ since }) => agoText(since, Date.now()) },
            { name: 'Actions', cell: row => <button type='button' class='small' onClick={() => { unblock(row.entry) }}>Unblock</button> }
          ]}
        />
      </Card>
    </>
  )
}
