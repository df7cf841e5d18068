import { percentText, rateText, sizeText, tableText, timeText } from '../units.ts'
import type { StatusReport } from './status.ts'

/** Super-nodes that are named; of the others there is a number. */
const MAX_NODES = 10

const share = (ratio: number | null): string => ratio === null ? '-' : percentText(ratio)

/** What is brought in ahead may be more than was asked for so far. */
const offload = (ratio: number | null): string => ratio !== null && ratio < 0 ? 'super-nodes sent more than viewers got' : `${share(ratio)} of bytes spared super-nodes`

/** The screen that `status` prints. */
export function statusText (report: StatusReport): string {
  const { version, uptimeSeconds, ready, state, checks, cache, hitRatio, offloadRatio, viewers, bandwidth, superNodes, alerts } = report
  const connected = Object.entries(viewers).filter(([, count]) => count > 0)
  const nodes = superNodes.slice(0, MAX_NODES).map(({ node, region, up }) => `${node} ${region} ${up ? 'up' : 'NOT UP'}`)
  const rows = [
    ['relay', `icn-relay ${version}, up ${timeText(uptimeSeconds)}`],
    ['ready', `${ready ? 'yes' : 'NO'} (${state}; ${Object.entries(checks).map(([name, is]) => `${name} ${is}`).join(', ')})`],
    ['cache', `${sizeText(cache.bytes)} of ${sizeText(cache.capacityBytes)}, ${cache.objects} objects${cache.freeBytes === null ? '' : `, ${sizeText(cache.freeBytes)} free on its disk`}`],
    ['hits', `${share(hitRatio)} of requests, ${offload(offloadRatio)}`],
    ['viewers', connected.length === 0 ? 'none' : connected.map(([transport, count]) => `${count} over ${transport}`).join(', ')],
    ['bandwidth', `${rateText(bandwidth.servedBps)} to viewers, ${rateText(bandwidth.upstreamBps)} from super-nodes; ${bandwidth.budgetBps === 0 ? 'no budget' : `budget ${rateText(bandwidth.budgetBps)}`}${bandwidth.shareBps === null ? '' : `, ${rateText(bandwidth.shareBps)} a viewer`}`],
    ...nodes.map((node, position) => [position === 0 ? 'super-nodes' : '', node]),
    ...superNodes.length > MAX_NODES ? [['', `and ${superNodes.length - MAX_NODES} more`]] : [],
    ...alerts.map(({ level, says }, position) => [position === 0 ? 'alerts' : '', `${level === 'fail' ? 'FAIL' : 'WARN'} ${says}`])
  ]
  return tableText(alerts.length === 0 ? [...rows, ['alerts', 'none']] : rows)
}
