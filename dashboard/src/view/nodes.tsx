import type { ComponentChildren } from 'preact'
import { useState } from 'preact/hooks'
import { bitRateText, countText, msText } from '../model/format.ts'
import { valueOf } from '../model/rates.ts'
import type { NodeAnswer, SummaryAnswer, UpstreamsAnswer } from '../model/wire.ts'
import { useConfirm } from './dialogs.tsx'
import { Badge, Card, Failure, Field, Table, type Column, type Tone } from './parts.tsx'
import { usePolled, useRelay } from './relay-context.ts'

const TONES: Readonly<Record<NodeAnswer['state'], Tone>> = { up: 'good', probing: 'fair', open: 'bad', ejected: 'bad', draining: 'fair', disabled: 'plain' }

/** Super-nodes and how they are. @param actions buttons of a row */
export function NodeTable ({ nodes, actions }: { readonly nodes: readonly NodeAnswer[], readonly actions?: (node: NodeAnswer) => ComponentChildren }) {
  const { history: { now } } = useRelay()
  const columns: Column<NodeAnswer>[] = [
    { name: 'Super-node', cell: ({ id, region }) => <><code>{id}</code><small class='below narrow'>{region}</small></> },
    { name: 'Region', extra: true, cell: ({ region }) => region },
    { name: 'State', cell: ({ state, health }) => <Badge tone={TONES[state]}>{state}{health !== null && health !== state ? ` (${health})` : ''}</Badge> },
    { name: 'Head', number: true, cell: ({ latencyMs }) => msText(latencyMs) },
    { name: 'p95', number: true, extra: true, cell: ({ p95Ms }) => msText(p95Ms) },
    { name: 'Sends', number: true, extra: actions !== undefined, cell: ({ id }) => bitRateText(now === undefined ? undefined : valueOf(now.received, id) * 8) },
    { name: 'Failures', number: true, extra: true, cell: ({ failures }) => countText(failures) },
    { name: 'Connections', number: true, extra: true, cell: ({ connections: { connected, queued } }) => queued > 0 ? `${connected}, ${queued} wait` : String(connected) },
    ...actions === undefined ? [] : [{ name: 'Actions', cell: (node: NodeAnswer) => <span class='row-actions'>{actions(node)}</span> }]
  ]
  return <Table caption='Super-nodes' columns={columns} rows={nodes} keyOf={({ id }) => id} empty='There is none.' />
}

const at = (id: string): string => `/upstreams/${encodeURIComponent(id)}`

/** Super-nodes, and what can be done with them. */
export function Nodes ({ summary }: { readonly summary: SummaryAnswer }) {
  const confirm = useConfirm()
  const { value, error, again } = usePolled<UpstreamsAnswer>('/upstreams', 5_000)
  const [url, setUrl] = useState('')
  const [region, setRegion] = useState('')
  const change = (node: NodeAnswer, state: 'enabled' | 'draining' | 'disabled', verb: string, text: string): void => {
    confirm({
      title: `${verb} ${node.id}?`,
      text,
      verb,
      ...state === 'enabled' ? {} : { typed: node.id },
      run: async api => {
        const { nodes } = await api.write<UpstreamsAnswer>('PATCH', at(node.id), { state })
        return `${node.id} is ${nodes.find(({ id }) => id === node.id)?.state ?? 'gone'}.`
      },
      done: again
    })
  }
  const remove = (node: NodeAnswer): void => {
    confirm({
      title: `Remove ${node.id}?`,
      text: 'It is asked no more, and stays away over restarts, even when it stands in the configuration.',
      verb: 'Remove',
      typed: node.id,
      run: async api => {
        await api.write('DELETE', at(node.id))
        return `${node.id} is removed.`
      },
      done: again
    })
  }
  const add = (): void => {
    confirm({
      title: `Add ${url}?`,
      text: `Viewers get what it sends. It counts as one of region ${region}, and is kept over restarts.`,
      verb: 'Add',
      run: async api => {
        await api.write('POST', '/upstreams', { url, region })
        return `${url} is added.`
      },
      done: () => {
        setUrl('')
        again()
      }
    })
  }
  const actions = (node: NodeAnswer) => (
    <>
      {node.state === 'draining' || node.state === 'disabled'
        ? <button type='button' class='small' onClick={() => { change(node, 'enabled', 'Enable', 'It is asked again.') }}>Enable</button>
        : <button type='button' class='small' onClick={() => { change(node, 'draining', 'Drain', 'It gets no new requests; bodies under way end well, and health checks go on. Kept over restarts.') }}>Drain</button>}
      {node.state === 'disabled' ? null : <button type='button' class='small' onClick={() => { change(node, 'disabled', 'Disable', 'It gets no new requests and no health checks. Kept over restarts.') }}>Disable</button>}
      <button type='button' class='small danger' onClick={() => { remove(node) }}>Remove</button>
    </>
  )
  return (
    <>
      <Card title='Super-nodes' wide about={`The relay stands in ${summary.region === '' ? 'no known region' : summary.region}; super-nodes of its region are asked first.`}>
        <Failure error={error} />
        <NodeTable nodes={summary.superNodes} actions={actions} />
      </Card>
      {value === undefined || value.siblings.length === 0
        ? null
        : <Card title='Siblings' wide about='Relays of the same tier; one that is not up is not asked.'><NodeTable nodes={value.siblings} /></Card>}
      <Card title='Add a super-node'>
        <form class='fields' onSubmit={event => { event.preventDefault(); add() }}>
          <Field label='URL' value={url} change={setUrl} placeholder='http://origin.example:9002' required />
          <Field label='Region' value={region} change={setRegion} placeholder={summary.region === '' ? 'NA-WEST' : summary.region} required />
          <button type='submit'>Add …</button>
        </form>
      </Card>
    </>
  )
}
