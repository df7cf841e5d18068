import { useState } from 'preact/hooks'
import { agoText, bytesText, countText, durationText, plural } from '../model/format.ts'
import type { JobAnswer, JobsAnswer } from '../model/wire.ts'
import { useConfirm } from './dialogs.tsx'
import { Badge, Card, Choice, Failure, Field, Meter, Table, type Tone } from './parts.tsx'
import { usePolled } from './relay-context.ts'

const TONES: Readonly<Record<JobAnswer['state'], Tone>> = { waiting: 'plain', running: 'fair', done: 'good', failed: 'bad', cancelled: 'plain', stopped: 'plain' }
const TYPES: readonly (readonly ['warm' | 'repair', string])[] = [['warm', 'warm: bring a video in'], ['repair', 'repair: check and mend all 14 shards']]

const isOpen = ({ state }: JobAnswer): boolean => state === 'waiting' || state === 'running'

function Progress ({ job }: { readonly job: JobAnswer }) {
  if (job.type === 'repair') {
    const settled = job.shards.filter(fate => fate !== 'pending').length
    return <Meter share={settled / job.shards.length} label='Shards checked'>{settled} of {job.shards.length} shards</Meter>
  }
  const { counts: { total, pending, failed }, bytes, etaSeconds, waitsFor } = job
  return (
    <Meter share={total === 0 ? 0 : (total - pending) / total} label='Objects'>
      {total - pending} of {total}{failed > 0 ? `, ${failed} failed` : ''}, {bytesText(bytes)}{isOpen(job) ? waitsFor !== null ? `, waits for ${waitsFor}` : etaSeconds === null ? '' : `, ${durationText(etaSeconds)} left` : ''}
    </Meter>
  )
}

/** Work that operators ask for. */
export function Jobs () {
  const confirm = useConfirm()
  const { value, error, again } = usePolled<JobsAnswer>('/jobs', 2_000)
  const [type, setType] = useState<'warm' | 'repair'>('warm')
  const [cid, setCid] = useState('')
  const begin = (): void => {
    const name = cid.trim()
    confirm({
      title: `${type === 'warm' ? 'Warm' : 'Repair'} ${name}?`,
      text: type === 'warm' ? 'Brings in what is missing of its manifest and data shards, as far as load allows.' : 'Reads every shard, and fetches or computes what is missing or wrong.',
      verb: 'Begin',
      run: async api => {
        const job = await api.write<JobAnswer>('POST', '/jobs', type === 'warm' ? { type, cids: [name] } : { type, cid: name })
        return `Job ${job.id} is ${job.state}.`
      },
      done: again
    })
  }
  const cancel = (job: JobAnswer): void => {
    confirm({
      title: 'Cancel the job?',
      text: `Ends job ${job.id} (${job.type}). What is under way may still come.`,
      verb: 'Cancel it',
      run: async api => `It is ${(await api.write<JobAnswer>('POST', `/jobs/${encodeURIComponent(job.id)}/cancel`)).state}.`,
      done: again
    })
  }
  const retry = (job: JobAnswer): void => {
    confirm({
      title: 'Try again?',
      text: `What failed of job ${job.id} is tried once more.`,
      verb: 'Try again',
      run: async api => `It is ${(await api.write<JobAnswer>('POST', `/jobs/${encodeURIComponent(job.id)}/retry`)).state}.`,
      done: again
    })
  }
  const jobs = value?.jobs ?? []
  return (
    <>
      <Card title='Begin a job'>
        <form class='fields' onSubmit={event => { event.preventDefault(); begin() }}>
          <Choice label='Type' value={type} options={TYPES} change={setType} />
          <Field label='CID' value={cid} change={setCid} pattern='[A-Za-z0-9_\-]{1,128}' required />
          <button type='submit'>Begin …</button>
        </form>
      </Card>
      <Card title='Jobs' wide about='The newest first.'>
        <Failure error={error} />
        <Table<JobAnswer>
          caption='Jobs' rows={jobs} keyOf={({ id }) => id} empty={value === undefined ? 'Asking …' : 'There is none.'}
          columns={[
            { name: 'Job', cell: job => <>{job.type} {job.type === 'repair' ? <code>{job.cid}</code> : <>of {plural(job.videos, 'video')}</>}<small class='below'><code>{job.id.slice(0, 8)}</code>{job.type === 'warm' ? `, by ${job.source}` : ''}</small></> },
            { name: 'State', cell: ({ state, detail }) => <><Badge tone={TONES[state]}>{state}</Badge>{detail === null ? null : <small class='below'>{detail}</small>}</> },
            { name: 'Progress', cell: job => <Progress job={job} /> },
            { name: 'Failed with', extra: true, cell: job => job.type === 'warm' && job.failures.length > 0 ? <code>{[...new Set(job.failures.map(({ code }) => code))].join(' ')}</code> : job.type === 'repair' ? countText(job.shards.filter(fate => fate === 'lost').length) : '' },
            { name: 'Asked for', extra: true, cell: ({ createdAt, endedAt }) => `${agoText(createdAt, Date.now())}${endedAt === null ? '' : `, ended ${agoText(endedAt, Date.now())}`}` },
            { name: 'Actions', cell: job => isOpen(job) ? <button type='button' class='small danger' onClick={() => { cancel(job) }}>Cancel</button> : job.type === 'warm' && job.counts.failed + job.counts.pending > 0 ? <button type='button' class='small' onClick={() => { retry(job) }}>Retry</button> : '' }
          ]}
        />
      </Card>
    </>
  )
}
