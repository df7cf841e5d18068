/** Bits per second. */
export interface ShareLimits {
  /** Above 0; viewers share what is left of the total in proportion. */
  readonly weight: number
  /** Never exceeded apart from its burst. */
  readonly capBps?: number | undefined
  /** Guaranteed before the excess is shared; scaled down when all floors together exceed the total. */
  readonly floorBps?: number | undefined
}
