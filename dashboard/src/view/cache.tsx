import { useMemo, useState } from 'preact/hooks'
import { agoText, bytesText, countText, percentText, plural } from '../model/format.ts'
import type { CurveAnswer, SummaryAnswer } from '../model/wire.ts'
import { Chart, type Line } from './chart.tsx'
import { useConfirm } from './dialogs.tsx'
import { Card, Choice, Facts, Failure, Field, Meter } from './parts.tsx'
import { usePolled } from './relay-context.ts'

const CURVE: readonly Line[] = [{ name: 'bytes', colour: 1 }, { name: 'objects', colour: 2, dashed: true }]
const DISK_LIMITS = { adapts: 'The relay moves its bound by itself.', fixed: 'The bound is as configured.' } as const

type Selector = 'cid' | 'prefix' | 'tag' | 'all'
const SELECTORS: readonly (readonly [Selector, string])[] = [['cid', 'one CID'], ['prefix', 'CIDs that begin with'], ['tag', 'CIDs with the tag'], ['all', 'everything']]
const MODES: readonly (readonly ['hard' | 'soft', string])[] = [['hard', 'hard: it goes now'], ['soft', 'soft: served until it was fetched again']]

function selected (selector: Selector, name: string): { readonly body: object, readonly text: string, readonly typed: string } {
  if (selector === 'all') return { body: { all: true }, text: 'everything that is cached', typed: 'everything' }
  if (selector === 'cid') return { body: { cids: [name] }, text: `all objects of ${name}`, typed: name }
  return selector === 'prefix'
    ? { body: { prefix: name }, text: `all objects of CIDs that begin with ${name.replace(/\*$/, '')}`, typed: name }
    : { body: { tag: name }, text: `all objects of CIDs with the tag ${name}`, typed: name }
}

function Purge () {
  const confirm = useConfirm()
  const [selector, setSelector] = useState<Selector>('cid')
  const [mode, setMode] = useState<'hard' | 'soft'>('hard')
  const [name, setName] = useState('')
  const purge = (): void => {
    const { body, text, typed } = selected(selector, name.trim())
    confirm({
      title: `Purge ${typed}?`,
      text: `${mode === 'hard' ? 'Removes' : 'Fetches anew'} ${text}. Viewers who read it go on to its end.`,
      verb: 'Purge',
      typed,
      run: async api => {
        const { purged, ms } = await api.write<{ purged: number, ms: number }>('POST', '/cache/purge', { ...body, mode })
        return `${plural(purged, 'object')} ${mode === 'hard' ? 'purged' : 'to be fetched again'} in ${ms} ms.`
      }
    })
  }
  return (
    <form class='fields' onSubmit={event => { event.preventDefault(); purge() }}>
      <Choice label='What' value={selector} options={SELECTORS} change={setSelector} />
      {selector === 'all' ? null : <Field label={selector === 'tag' ? 'Tag' : 'CID'} value={name} change={setName} required />}
      <Choice label='How' value={mode} options={MODES} change={setMode} />
      <button type='submit' class='danger'>Purge …</button>
    </form>
  )
}

function Curve ({ curve }: { readonly curve: CurveAnswer }) {
  const { points, gains, bytes, hitRatio, requests, sampledShare, sizing } = curve
  const data = useMemo(() => [points.map(point => point.bytes), points.map(point => point.byteHitRatio), points.map(point => point.hitRatio)], [points])
  const { last } = sizing
  return (
    <>
      <Chart label='Estimated hit ratio by capacity' lines={CURVE} data={data} text={percentText} at={bytesText} max={1} mark={bytes} />
      <Facts facts={gains.map(gain => ({
        name: `${gain.bytes < 0 ? '−' : '+'}${bytesText(Math.abs(gain.bytes))}`,
        value: `${gain.points > 0 ? '+' : gain.points < 0 ? '−' : '±'}${Math.abs(gain.points).toFixed(2)}`,
        note: 'points of byte hit ratio'
      }))}
      />
      <p class='about'>
        The dashed line is the bound, {bytesText(bytes)}. Estimated from {plural(requests, 'request')}, of which a sample is looked at: those for {percentText(sampledShare)} of the objects. The cache itself had {percentText(hitRatio)} of the same. {sizing.enabled ? DISK_LIMITS.adapts : DISK_LIMITS.fixed}
        {last === null ? '' : ` Last moved ${agoText(last.at, Date.now())} from ${bytesText(last.from)} to ${bytesText(last.to)} (${last.reason}).`}
      </p>
    </>
  )
}

/** What is cached, what more of it would bring, and purges. */
export function CacheView ({ summary }: { readonly summary: SummaryAnswer }) {
  const { value, error } = usePolled<CurveAnswer>('/cache/curve', 10_000)
  const { cache: { maxBytes, usedBytes, freeBytes, entries, ramBytes, ramUsedBytes, fills }, readiness, totals } = summary
  return (
    <>
      <Card title='Room'>
        <Facts facts={[
          { name: 'Disk', value: bytesText(usedBytes), note: <Meter share={usedBytes / maxBytes} label='Of the bound'>of {bytesText(maxBytes)}</Meter> },
          { name: 'Memory', value: bytesText(ramUsedBytes), note: ramBytes === 0 ? 'no memory tier' : <Meter share={ramUsedBytes / ramBytes} label='Of the memory tier'>of {bytesText(ramBytes)}</Meter> },
          { name: 'Free on the disk', value: bytesText(freeBytes) },
          { name: 'Objects', value: countText(entries), note: `${plural(totals.evictions, 'eviction')} since the start` },
          { name: 'Fills', value: countText(fills), note: 'objects being fetched' },
          { name: 'State', value: readiness.checks.cache }
        ]}
        />
      </Card>
      <Card title='Purge'><Purge /></Card>
      <Card title='What another capacity would bring' wide>
        <Failure error={error} />
        {value === undefined ? <p class='empty'>Asking …</p> : value.points.length === 0 ? <p class='empty'>Nothing is known before viewers have asked for objects.</p> : <Curve curve={value} />}
      </Card>
    </>
  )
}
