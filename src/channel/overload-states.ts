/** How the relay copes, best first. */
export const OVERLOAD_STATES = ['normal', 'degraded', 'shedding'] as const
export type OverloadState = typeof OVERLOAD_STATES[number]

export function isWorse (state: OverloadState, than: OverloadState): boolean {
  return OVERLOAD_STATES.indexOf(state) > OVERLOAD_STATES.indexOf(than)
}

/** What a state means for those who spend. */
export interface OverloadEffects {
  /** Whether work that no viewer waits for may go on. */
  readonly backgroundAllowed: boolean
  /** What bursts and chunks are multiplied by, in (0, 1]: shorter turns of the event loop, less memory behind each viewer. */
  readonly burstFactor: number
}

export const OVERLOAD_EFFECTS: Readonly<Record<OverloadState, OverloadEffects>> = {
  normal: { backgroundAllowed: true, burstFactor: 1 },
  degraded: { backgroundAllowed: false, burstFactor: 1 / 2 },
  // A quarter of 64 KiB is the smallest chunk a viewer session reads anyway.
  shedding: { backgroundAllowed: false, burstFactor: 1 / 4 }
}
