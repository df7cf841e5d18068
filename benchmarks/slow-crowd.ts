/** The slow viewers of `slow-viewers.ts`, in a process of their own: gathers them when told to, and lets them go. */
import { SlowViewers, type SlowCounts, type SlowTarget } from '../tools/harness/slow-viewers.ts'

export interface CrowdOrder {
  /** Undefined: go home. */
  readonly counts: SlowCounts | undefined
  readonly target: SlowTarget
}

let crowd: SlowViewers | undefined

async function carryOut ({ counts, target }: CrowdOrder): Promise<string> {
  crowd?.end()
  crowd = counts === undefined ? undefined : await SlowViewers.gather(target, counts)
  return 'ok'
}

process.on('message', message => {
  carryOut(message as CrowdOrder).then(answer => { process.send?.(answer) }, (error: unknown) => { process.send?.(String(error)) })
})
process.on('disconnect', () => { process.exit(0) })
