import type { Rendition } from './rendition-ladder.ts'
import type { ShareLimits } from './throttle.ts'

/** Reads that wait for bandwidth at the same time in one process; more are refused. Each holds an object, and the relay lends its gateway no more than these. */
export const MAX_WAITING_READS = 65_536

/** What operators may change while the relay runs. */
export interface BandwidthLimits {
  /** For all viewers, bits per second; 0 is unlimited. */
  readonly totalBps: number
  /** For one viewer at most, bits per second; 0 is unlimited. */
  readonly viewerCapBps: number
  /** For one viewer before the rest is shared, bits per second. */
  readonly viewerFloorBps: number
  /** Sent in one burst after a calm time, bytes; 0 chooses by the budget. */
  readonly burstBytes: number
}

/** The gateway's part of the total, and what its viewers are limited by; it crosses processes. */
export interface GatewayShare extends Omit<BandwidthLimits, 'totalBps'> {
  /** Bits per second for the viewers of the gateway together; 0 is unlimited. */
  readonly budgetBps: number
  /** Bits per second for a viewer of weight 1 over both processes; undefined when unlimited. */
  readonly levelBps: number | undefined
}

/** What only the configuration says. */
export interface BandwidthClasses {
  /** By class of viewers; `default` is for all that are not named. */
  readonly weights: Readonly<Record<string, number>>
  readonly ladder: readonly Rendition[]
}

/** @param className of the viewer's token; undefined for the default class */
export function shareLimits ({ viewerCapBps, viewerFloorBps }: Pick<BandwidthLimits, 'viewerCapBps' | 'viewerFloorBps'>, weights: BandwidthClasses['weights'], className?: string): ShareLimits {
  const weightOf = (name: string): number | undefined => Object.hasOwn(weights, name) ? weights[name] : undefined
  return {
    weight: (className === undefined ? undefined : weightOf(className)) ?? weightOf('default') ?? 1,
    ...viewerCapBps > 0 ? { capBps: viewerCapBps } : {},
    ...viewerFloorBps > 0 ? { floorBps: viewerFloorBps } : {}
  }
}
