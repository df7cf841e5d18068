import type { WarmJob } from '../warm/warm-job.ts'
import type { RepairJob } from './repair-job.ts'

/** What the jobs of this relay do. */
export type AnyWork = RepairJob | WarmJob
