import type { Static } from 'typebox'
import type * as admin from '../../../src/plugins/admin/schemas.ts'
import type { DenylistReport } from '../../../src/plugins/denylist/schemas.ts'
import type { JobList, JobReport } from '../../../src/plugins/jobs/schemas.ts'
import type { ConfigReport } from '../../../src/plugins/live-config/schemas.ts'
import type { CacheCurve } from '../../../src/plugins/sizing/schemas.ts'
import type { Summary } from '../../../src/plugins/summary/schemas.ts'
import type { ViewerList } from '../../../src/plugins/viewers/schemas.ts'

/* What the admin API answers, as its schemas say. */

export type SummaryAnswer = Static<typeof Summary>
export type NodeAnswer = Static<typeof admin.UpstreamNode>
export type UpstreamsAnswer = Static<typeof admin.Upstreams>
export type BandwidthAnswer = Static<typeof admin.BandwidthReport>
export type OverloadAnswer = Static<typeof admin.OverloadReport>
export type ViewersAnswer = Static<typeof ViewerList>
export type CurveAnswer = Static<typeof CacheCurve>
export type JobAnswer = Static<typeof JobReport>
export type JobsAnswer = Static<typeof JobList>
export type DenylistAnswer = Static<typeof DenylistReport>
export type ConfigAnswer = Static<typeof ConfigReport>

/** A record of the access log as the stream has it. */
export interface LoggedRequest {
  readonly time: string
  readonly kind: string
  readonly remote: string
  readonly transport: string
  readonly method: string
  readonly url: string
  readonly object?: string
  readonly status: number
  readonly code?: string
  readonly complete: boolean
  readonly bytes: number
  readonly cache?: string
  readonly superNode?: string
  readonly firstByteMs?: number
  readonly ms: number
  readonly userAgent?: string
  readonly subject?: string
  readonly reqId: string
}
