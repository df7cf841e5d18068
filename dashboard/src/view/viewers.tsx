import { agoText, bitRateText, bytesText, countText, msText, plural, UNKNOWN } from '../model/format.ts'
import type { BandwidthAnswer, SummaryAnswer, ViewersAnswer } from '../model/wire.ts'
import { useConfirm } from './dialogs.tsx'
import { Badge, Card, Facts, Failure, Meter, Table } from './parts.tsx'
import { usePolled } from './relay-context.ts'

/** Rows of one page of viewers. */
const SHOWN = 100
const DRAIN_MS = 30_000

type Share = BandwidthAnswer['viewers'][number]

/** Viewers, what each gets, and drains. */
export function Viewers ({ summary }: { readonly summary: SummaryAnswer }) {
  const confirm = useConfirm()
  const shares = usePolled<BandwidthAnswer>(`/bandwidth?limit=${SHOWN}`, 2_000)
  const sessions = usePolled<ViewersAnswer>('/viewers', 2_000)
  const draining = summary.readiness.checks.viewer === 'draining'
  const byId = new Map(sessions.value?.viewers.map(viewer => [viewer.id, viewer]))
  const { totalBps = 0, shareBps = null, backloggedViewers = 0, parts, ladder = [], viewers = [], next } = shares.value ?? {}
  const fastest = Math.max(1, ...viewers.map(({ rateBps, shareBps: own }) => Math.max(rateBps, own ?? 0)))
  const rendition = shareBps === null ? undefined : ladder.filter(({ minBps }) => minBps <= shareBps).sort((a, b) => b.minBps - a.minBps)[0]?.rendition

  const drain = (): void => {
    confirm({
      title: 'Drain this relay?',
      text: `Every viewer with a session is asked to move within ${DRAIN_MS / 1_000} seconds, no new sessions are taken, and /ready says 503. It holds until you take viewers again, or a restart.`,
      verb: 'Drain',
      typed: 'drain',
      run: async api => {
        await api.write('POST', '/drain', { deadlineMs: DRAIN_MS })
        return 'Viewers are asked to move.'
      }
    })
  }
  const resume = (): void => {
    confirm({
      title: 'Take viewers again?',
      text: 'New sessions are taken; those that were asked to move still end.',
      verb: 'Take viewers',
      run: async api => {
        await api.write('DELETE', '/drain')
        return 'Viewers are taken again.'
      }
    })
  }
  const disconnect = (id: string, address: string): void => {
    confirm({
      title: 'Disconnect a viewer?',
      text: `Ends session ${id} of ${address}. Nothing keeps it from beginning another.`,
      verb: 'Disconnect',
      run: async api => {
        await api.write('DELETE', `/viewers/${encodeURIComponent(id)}`)
        return 'Its session has ended.'
      },
      done: sessions.again
    })
  }
  return (
    <>
      <Card title='Now' actions={draining ? <button type='button' onClick={resume}>Take viewers again …</button> : <button type='button' class='danger' onClick={drain}>Drain …</button>}>
        <Facts facts={[
          { name: 'Over HTTP', value: countText(summary.viewers.http), note: 'connections' },
          { name: 'WebTransport', value: countText(summary.viewers.webtransport), note: 'sessions' },
          { name: 'WebSocket', value: countText(summary.viewers.websocket), note: 'sessions' },
          { name: 'Gateway', value: summary.gateway === null ? 'off' : summary.gateway.up ? 'listens' : 'down', note: summary.gateway === null ? undefined : plural(summary.gateway.restarts, 'restart') }
        ]}
        />
      </Card>
      <Card title='Bandwidth' about='What viewers share. Without a budget nothing limits them but the network.'>
        <Failure error={shares.error} />
        <Facts facts={[
          { name: 'Budget', value: totalBps === 0 ? 'unlimited' : bitRateText(totalBps), note: parts === undefined || totalBps === 0 ? undefined : `HTTP ${bitRateText(parts.http)} · sessions ${bitRateText(parts.gateway)}` },
          { name: 'Share', value: shareBps === null ? 'unlimited' : bitRateText(shareBps), note: rendition === undefined ? 'of a viewer of weight 1' : `of a viewer of weight 1: enough for ${rendition}` },
          { name: 'Wait for bandwidth', value: countText(backloggedViewers), note: 'viewers' }
        ]}
        />
      </Card>
      <Card title='Viewers' wide about={next === undefined ? 'Rate and share of each.' : `The first ${SHOWN}; GET /admin/v1/bandwidth has all.`}>
        <Failure error={summary.gateway === null ? undefined : sessions.error} />
        <Table<Share>
          caption='Viewers' rows={viewers} keyOf={({ transport, id }) => `${transport} ${id}`} empty='Nobody is here.'
          columns={[
            { name: 'Viewer', cell: ({ id, transport }) => <><code>{byId.get(id)?.address ?? id}</code><small class='below narrow'>{transport}</small></> },
            { name: 'Transport', extra: true, cell: ({ transport }) => <Badge tone='plain'>{transport}</Badge> },
            { name: 'Rate and share', cell: ({ rateBps, shareBps: own }) => <Meter share={rateBps / (own ?? fastest)} label='Rate of its share'>{bitRateText(rateBps)} of {own === null ? 'unlimited' : bitRateText(own)}</Meter> },
            { name: 'Waited', number: true, extra: true, cell: ({ waitedMs }) => msText(waitedMs) },
            { name: 'Sent', number: true, extra: true, cell: ({ id }) => bytesText(byId.get(id)?.bytes) },
            { name: 'Streams', number: true, extra: true, cell: ({ id }) => countText(byId.get(id)?.streams) },
            { name: 'Since', extra: true, cell: ({ id }) => { const since = byId.get(id)?.since; return since === undefined ? UNKNOWN : agoText(since, Date.now()) } },
            { name: 'Who', extra: true, cell: ({ id }) => [byId.get(id)?.identity, byId.get(id)?.class].filter(word => word !== undefined).join(', ') || UNKNOWN },
            { name: 'Actions', cell: ({ id }) => byId.has(id) ? <button type='button' class='small danger' onClick={() => { disconnect(id, byId.get(id)?.address ?? '') }}>Disconnect</button> : UNKNOWN }
          ]}
        />
      </Card>
    </>
  )
}
