import { bitRateText, bytesText, clockText, countText, durationText, percentText, perSecondText, plural } from '../model/format.ts'
import type { Point } from '../model/history.ts'
import { sumOf } from '../model/rates.ts'
import type { SummaryAnswer } from '../model/wire.ts'
import { Chart, type Line } from './chart.tsx'
import { NodeTable } from './nodes.tsx'
import { Card, Facts, Meter, type Fact } from './parts.tsx'
import { useRelay } from './relay-context.ts'

const TRAFFIC: readonly Line[] = [{ name: 'HTTP', colour: 1 }, { name: 'WebTransport', colour: 2 }, { name: 'WebSocket', colour: 3 }, { name: 'from super-nodes', colour: 4, dashed: true }]
const RATIOS: readonly Line[] = [{ name: 'hits', colour: 1 }, { name: 'offload', colour: 2, dashed: true }]
const VIEWERS: readonly Line[] = [{ name: 'HTTP', colour: 1 }, { name: 'WebTransport', colour: 2 }, { name: 'WebSocket', colour: 3 }]

/** Time that plots show, s. */
const SHOWN = 300

const atText = (seconds: number): string => clockText(seconds * 1_000)

/** Columns of a plot. */
const columns = (points: readonly Point[], ...names: readonly (keyof Point)[]): (number | null)[][] => (['at', ...names] as const).map(name => points.map(point => point[name]))

function tiles (summary: SummaryAnswer, { history }: ReturnType<typeof useRelay>): Fact[] {
  const { now, ofLate } = history
  const { viewers: { http, webtransport, websocket }, process, gateway, totals, cache } = summary
  const [sent, received] = [sumOf(totals.sentBytes), sumOf(totals.receivedBytes)]
  return [
    { name: 'To viewers', value: bitRateText(now === undefined ? undefined : sumOf(now.sent) * 8), note: `${bytesText(sent)} since the start` },
    { name: 'Hit ratio', value: percentText(ofLate?.hitRatio), note: 'of objects, last 15 s' },
    { name: 'Offload', value: percentText(ofLate?.offload), note: `${bytesText(Math.max(0, sent - received))} not asked of super-nodes` },
    { name: 'Viewers', value: countText(http + webtransport + websocket), note: `${http} HTTP · ${webtransport} WebTransport · ${websocket} WebSocket` },
    { name: 'Requests', value: perSecondText(now?.requests), note: `${perSecondText(now?.failures)} failed, ${perSecondText(now?.limited)} over a limit` },
    { name: 'First byte, p95', value: durationText(ofLate?.hitWait), note: `hits; misses ${durationText(ofLate?.missWait)}` },
    { name: 'Disk cache', value: bytesText(cache.usedBytes), note: `of ${bytesText(cache.maxBytes)}, ${plural(cache.fills, 'fill')} under way` },
    { name: 'CPU', value: now === undefined ? durationText(undefined) : `${(now.cpu + now.gatewayCpu).toFixed(2)} cores`, note: `${bytesText(process.rssBytes)} relay, ${bytesText(gateway?.rssBytes)} gateway` }
  ]
}

/** What happens now. */
export function Overview ({ summary }: { readonly summary: SummaryAnswer }) {
  const relay = useRelay()
  const points = relay.history.points.items
  const { totals: { sentBytes, receivedBytes, failures, hits, misses } } = summary
  const sent = sumOf(sentBytes)
  const received = sumOf(receivedBytes)
  return (
    <>
      <section class='tiles' aria-label='Now'><Facts facts={tiles(summary, relay)} /></section>
      <Card title='Traffic' about='Body bytes to viewers by transport, and from super-nodes.'>
        <Chart label='Bits a second to viewers and from super-nodes, the last five minutes' lines={TRAFFIC} data={columns(points, 'http', 'webtransport', 'websocket', 'received')} text={bitRateText} at={atText} seconds={SHOWN} />
      </Card>
      <Card title='Hit ratio and offload' about='Share of the objects that the cache had, and of the bytes that super-nodes did not have to send.'>
        <Chart label='Hit ratio and offload, the last five minutes' lines={RATIOS} data={columns(points, 'hitRatio', 'offload')} text={percentText} at={atText} seconds={SHOWN} max={1} />
      </Card>
      <Card title='Viewers by transport' about='Connections over plain HTTP, and sessions.'>
        <Chart label='Viewers by transport, the last five minutes' lines={VIEWERS} data={columns(points, 'overHttp', 'overWebtransport', 'overWebsocket')} text={value => value === null || value === undefined ? countText(value) : countText(Math.round(value))} at={atText} seconds={SHOWN} />
      </Card>
      <Card title='Since the start'>
        <Facts facts={[
          { name: 'To viewers', value: bytesText(sent), note: Object.entries(sentBytes).map(([name, bytes]) => `${name} ${bytesText(bytes)}`).join(' · ') },
          { name: 'From super-nodes', value: bytesText(received) },
          { name: 'Offload', value: bytesText(Math.max(0, sent - received)), note: sent === 0 ? undefined : <Meter share={1 - received / sent} label='Offload' /> },
          { name: 'Objects', value: countText(sumOf(hits) + misses), note: `${plural(sumOf(hits), 'hit')}, ${plural(misses, 'miss', 'misses')}` },
          { name: 'Failed', value: countText(sumOf(failures)), note: Object.entries(failures).map(([code, count]) => `${code.replace('RELAY_ERR_', '')} ${countText(count)}`).join(' · ') }
        ]}
        />
      </Card>
      <Card title='Super-nodes' wide>
        <NodeTable nodes={summary.superNodes} />
      </Card>
    </>
  )
}
