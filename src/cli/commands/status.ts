import { setTimeout as delay } from 'node:timers/promises'
import { publicOfRunning } from '../ask-admin.ts'
import { ADMIN, command, JSON_OPTION, jsonText } from '../command.ts'
import { readStatus } from '../status/status.ts'
import { statusText } from '../status/status-text.ts'

/** Time over which what is sent is measured, ms. */
const MEASURE_MS = 1_000

export const status = command({
  name: 'status',
  summary: 'print on one screen how a running relay is',
  says: 'Version, readiness, cache, hits, viewers, bandwidth over a second, super-nodes, and what wants to be looked at. Needs no token.',
  options: { ...ADMIN, ...JSON_OPTION },
  exits: { 1: 'it is not ready' },
  take: ({ json, admin }) => ({ json, admin }),
  run: async ({ json, admin }, { settings, now, write }) => {
    const report = await readStatus({ read: publicOfRunning('status', settings(), admin), pause: async () => { await delay(MEASURE_MS) }, now })
    await write(json ? jsonText(report) : statusText(report))
    return report.ready ? 0 : 1
  }
})
