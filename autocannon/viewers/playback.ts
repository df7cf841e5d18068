/** What a viewer sees of a video that is played while it is fetched, shard by shard; all times are milliseconds of one clock. */
export class Playback {
  readonly #askedAt: number
  readonly #targetMs: number
  /** When the picture freezes unless more arrives; undefined until it plays for the first time. */
  #dryAt: number | undefined
  #startupMs: number | undefined
  #deliveredMs = 0
  #stalls = 0
  #stalledMs = 0

  /**
   * @param askedAt when the viewer pressed play
   * @param targetMs video that is kept in store; the next shard is asked for when there is less
   */
  constructor (askedAt: number, targetMs: number) {
    this.#askedAt = askedAt
    this.#targetMs = targetMs
  }

  /** From pressing play to the first picture; undefined before. */
  get startupMs (): number | undefined { return this.#startupMs }
  get stalls (): number { return this.#stalls }
  /** Time the picture stood still after it had played. */
  get stalledMs (): number { return this.#stalledMs }

  /** Video of `ms` more has arrived: the picture starts, or goes on when it stood still. */
  delivered (now: number, ms: number): void {
    this.#deliveredMs += ms
    if (this.#dryAt === undefined) {
      this.#startupMs = now - this.#askedAt
      this.#dryAt = now + ms
      return
    }
    this.#stallUntil(now)
    this.#dryAt = Math.max(this.#dryAt, now) + ms
  }

  /** When the next shard is due: immediately while the store is below its target. */
  nextAt (now: number): number {
    return this.#dryAt === undefined ? now : Math.max(now, this.#dryAt - this.#targetMs)
  }

  /** The viewer leaves. @returns video that was played, milliseconds */
  leave (now: number): number {
    if (this.#dryAt === undefined) return 0
    const unplayed = Math.max(0, this.#dryAt - now)
    this.#stallUntil(now)
    return this.#deliveredMs - unplayed
  }

  #stallUntil (now: number): void {
    if (this.#dryAt === undefined || now <= this.#dryAt) return
    this.#stalls++
    this.#stalledMs += now - this.#dryAt
    this.#dryAt = now
  }
}
