import { agoText, dateText, durationText, msText, percentText } from '../model/format.ts'
import type { ConfigAnswer, OverloadAnswer, SummaryAnswer } from '../model/wire.ts'
import { useConfirm } from './dialogs.tsx'
import { Badge, Card, Facts, Failure, Meter, Table, type Tone } from './parts.tsx'
import { usePolled } from './relay-context.ts'

const TONES: Readonly<Record<string, Tone>> = { normal: 'good', degraded: 'fair', shedding: 'bad' }

interface Key { readonly key: string, readonly value: unknown, readonly after: unknown, readonly source: string, readonly why: string }

/** Keys that an operator would wonder about: set over the API, or waiting for a restart. */
function oddKeys ({ keys }: ConfigAnswer): Key[] {
  return Object.entries(keys).flatMap(([key, { value, source, configured, pending }]) => [
    ...source === 'api' ? [{ key, value, after: configured?.value, source, why: 'set over the API; the configuration has' }] : [],
    ...pending === undefined ? [] : [{ key, value, after: pending.value, source: pending.source, why: 'a restart puts in force' }]
  ])
}

const shown = (value: unknown): string => JSON.stringify(value) ?? ''

/** The configuration in force, its last reload, certificate and overload. */
export function ConfigView ({ summary }: { readonly summary: SummaryAnswer }) {
  const confirm = useConfirm()
  const config = usePolled<ConfigAnswer>('/config', 10_000)
  const overload = usePolled<OverloadAnswer>('/overload', 2_000)
  const { certificate: { source, notAfter }, config: { hash, reload: last } } = summary
  const now = Date.now()
  const reload = (): void => {
    confirm({
      title: 'Read the configuration again?',
      text: 'The file and all files that it names, as SIGHUP does: all that may change is put in force, or nothing is.',
      verb: 'Reload',
      run: async api => {
        const { changed, restart } = await api.write<{ changed: readonly { readonly key: string }[], restart: readonly string[] }>('POST', '/config/reload')
        return `${changed.length === 0 ? 'Nothing changes' : `In force now: ${changed.map(({ key }) => key).join(', ')}`}.${restart.length === 0 ? '' : ` A restart is needed for ${restart.join(', ')}.`}`
      },
      done: config.again
    })
  }
  const drop = (key: string): void => {
    confirm({
      title: `Drop ${key}?`,
      text: 'What is configured holds again.',
      verb: 'Drop',
      run: async api => {
        await api.write('DELETE', `/config/overrides/${encodeURIComponent(key)}`)
        return 'The configuration holds again.'
      },
      done: config.again
    })
  }
  return (
    <>
      <Card title='Configuration' actions={<button type='button' onClick={reload}>Reload …</button>}>
        <Failure error={config.error} />
        <Facts facts={[
          { name: 'Last reload', value: <Badge tone={last.success ? 'good' : 'bad'}>{last.success ? 'taken over' : 'refused'}</Badge>, note: agoText(last.at, now) },
          { name: 'File', value: <code class='long'>{config.value === undefined ? '…' : config.value.file ?? 'none'}</code> },
          { name: 'Hash', value: <code>{hash}</code> }
        ]}
        />
        {last.problem === null ? null : <pre class='failure'>{last.problem}</pre>}
      </Card>
      <Card title='Certificate of viewers'>
        <Facts facts={[
          { name: 'Expires', value: notAfter <= now ? 'has expired' : `in ${durationText((notAfter - now) / 1_000)}`, note: dateText(notAfter) },
          { name: 'Source', value: source, note: source === 'self-signed' ? 'renewed by the relay' : 'reloaded when its files change' }
        ]}
        />
      </Card>
      <Card title='Overload' wide about='Signals as shares of where degraded begins.'>
        <Failure error={overload.error} />
        <Table
          caption='Signals of overload' rows={overload.value?.signals ?? []} keyOf={({ signal }) => signal} empty='Asking …'
          columns={[
            { name: 'Signal', cell: ({ signal }) => signal.replaceAll('_', ' ') },
            { name: 'State', cell: ({ state }) => <Badge tone={TONES[state] ?? 'plain'}>{state}</Badge> },
            { name: 'Of degraded', cell: ({ ratio }) => <Meter share={ratio} label='Of where degraded begins' /> },
            { name: 'Value', number: true, cell: ({ signal, value }) => signal.endsWith('delay') ? msText(value) : percentText(value) }
          ]}
        />
        {overload.value === undefined
          ? null
          : <Table
              caption='Latest changes' rows={[...overload.value.transitions].reverse().slice(0, 10)} keyOf={({ at, to }) => `${at} ${to}`} empty='It has not changed since the start.'
              columns={[
                { name: 'Changed', cell: ({ at }) => dateText(at) },
                { name: 'From', cell: ({ from }) => from },
                { name: 'To', cell: ({ to }) => <Badge tone={TONES[to] ?? 'plain'}>{to}</Badge> },
                { name: 'By', cell: ({ signal }) => signal.replaceAll('_', ' ') }
              ]}
            />}
      </Card>
      <Card title='Keys that are not as configured' wide>
        <Table
          caption='Keys that are not as configured' rows={config.value === undefined ? [] : oddKeys(config.value)} keyOf={({ key, why }) => `${key} ${why}`} empty={config.value === undefined ? 'Asking …' : 'There is none.'}
          columns={[
            { name: 'Key', cell: ({ key }) => <code>{key}</code> },
            { name: 'In force', cell: ({ value }) => <code class='long'>{shown(value)}</code> },
            { name: 'Why', cell: ({ why }) => why },
            { name: 'Other value', cell: ({ after }) => <code class='long'>{shown(after)}</code> },
            { name: 'Actions', cell: ({ key, source: from }) => from === 'api' ? <button type='button' class='small' onClick={() => { drop(key) }}>Drop</button> : '' }
          ]}
        />
      </Card>
    </>
  )
}
