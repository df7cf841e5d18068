import type { Clock } from '../../base/clock.ts'
import { isLocalLack, RelayError } from '../../base/errors.ts'
import { observe, outcomeOf, UNDETECTED, type DetectionOutcome, type RegionPolicy, type RegionState } from './choice.ts'
import { latencyByRegion, type NodeMeasurement } from './measurement.ts'
import { sampleNodes, type Handshake, type SampledNode } from './sampler.ts'

export type RegionSource = 'override' | 'detected' | 'default' | 'unknown'

export interface RegionDetectorOptions {
  /** Asked at every detection. */
  readonly nodes: () => readonly SampledNode[]
  readonly handshake: Handshake
  readonly policy: RegionPolicy
  /** Bound of a whole detection, ms. */
  readonly timeoutMs: number
  /** From the end of a detection to the next one, ms. */
  readonly intervalMs: number
  /** Region set by the operator; undefined for none. */
  readonly override: string | undefined
  /** Region until one is detected, where there is only one to choose; undefined for none. */
  readonly fallback: string | undefined
  /** Whether a detection that nobody asked for may begin now; it is put off otherwise. A busy relay measures itself. */
  readonly mayMeasure?: () => boolean
  readonly clock: Clock
  /** A detection ended; must not throw. */
  readonly detected: (outcome: DetectionOutcome) => void
  readonly log: (level: 'info' | 'warn' | 'error', message: string, fields: Record<string, unknown>) => void
}

/** A detection that ran to its end. */
export interface Detection {
  /** Milliseconds since the epoch. */
  readonly measuredAt: number
  readonly tookMs: number
  readonly outcome: DetectionOutcome
  readonly nodes: readonly NodeMeasurement[]
  /** Of the regions in reach, ms. */
  readonly latencies: ReadonlyMap<string, number>
}

/** A relay that reached nobody, at boot for example, or was too busy to measure, tries again after this and not after an hour, ms. */
const RETRY_MS = 30_000

/** The region of the relay: set by the operator, or that of the nearest super-nodes. One detection runs at a time. */
export class RegionDetector {
  readonly #options: RegionDetectorOptions
  readonly #listeners = new Set<(region: string) => void>()
  #override: string | undefined
  #fallback: string | undefined
  #state: RegionState = UNDETECTED
  #last: Detection | undefined
  #underWay: Promise<Detection> | undefined
  #abort: AbortController | undefined
  #timer: NodeJS.Timeout | undefined
  /** The latest attempt said nothing of any node. */
  #lacking = false
  #started = false
  #closed = false

  constructor (options: RegionDetectorOptions) {
    this.#options = options
    this.#override = options.override
    this.#fallback = options.fallback
  }

  /** '' when unknown. */
  get current (): string { return this.#override ?? this.#state.region ?? this.#fallback ?? '' }
  get override (): string | undefined { return this.#override }
  /** What detections have led to, whether or not it is in force. */
  get detected (): string | undefined { return this.#state.region }
  /** The latest detection. */
  get last (): Detection | undefined { return this.#last }

  get source (): RegionSource {
    if (this.#override !== undefined) return 'override'
    if (this.#state.region !== undefined) return 'detected'
    return this.#fallback === undefined ? 'unknown' : 'default'
  }

  /** Begins to detect in the background, unless there is an override. */
  start (): void {
    this.#started = true
    this.#inBackground()
  }

  /** Puts a region in force until the next call, without a detection from time to time; undefined goes back to those. */
  setOverride (region: string | undefined): void {
    this.#change(() => { this.#override = region })
    clearTimeout(this.#timer)
    this.#inBackground()
  }

  /** Until one is detected; undefined where there are several to choose from. */
  setFallback (region: string | undefined): void {
    this.#change(() => { this.#fallback = region })
  }

  /** Calls `listener` whenever {@link current} has changed. Returns a function that ends that. */
  onChange (listener: (region: string) => void): () => void {
    this.#listeners.add(listener)
    return () => { this.#listeners.delete(listener) }
  }

  /**
   * Detects now, or joins the detection under way. An override stays in force, whatever is measured.
   * @throws RelayError RELAY_ERR_STOPPING, or RELAY_ERR_LOCAL_LACK when there is nothing to measure with
   */
  async detect (): Promise<Detection> {
    if (this.#closed) throw new RelayError('RELAY_ERR_STOPPING', 'the relay is stopping')
    return await (this.#underWay ??= this.#run().finally(() => {
      this.#underWay = undefined
      this.#schedule()
    }))
  }

  /** Ends the detection under way and all to come; afterwards no socket and no timer is left. */
  async close (): Promise<void> {
    this.#closed = true
    clearTimeout(this.#timer)
    this.#abort?.abort()
    await this.#underWay?.catch(() => {})
  }

  async #run (): Promise<Detection> {
    const { nodes, handshake, timeoutMs, clock, policy, detected } = this.#options
    const start = clock.monotonic()
    const abort = new AbortController()
    this.#abort = abort
    const timer = setTimeout(() => { abort.abort() }, timeoutMs)
    let measured: NodeMeasurement[]
    try {
      measured = await sampleNodes(nodes(), handshake, abort.signal)
      this.#lacking = false
    } catch (error) {
      this.#lacking = isLocalLack(error)
      throw this.#lacking ? new RelayError('RELAY_ERR_LOCAL_LACK', 'the relay is short of descriptors or ports to measure with', { cause: error }) : error
    } finally {
      clearTimeout(timer)
      // The handshakes of other nodes.
      abort.abort()
    }
    // Cut short by the end of the relay, it says nothing about the nodes.
    if (this.#closed) throw new RelayError('RELAY_ERR_STOPPING', 'the relay is stopping')
    const latencies = latencyByRegion(measured)
    const before = this.#state
    const after = observe(before, latencies, policy)
    const outcome = outcomeOf(before, after, latencies)
    const detection = { measuredAt: clock.now(), tookMs: clock.monotonic() - start, outcome, nodes: measured, latencies }
    this.#last = detection
    this.#change(() => { this.#state = after })
    this.#report(detection, before.region)
    detected(outcome)
    return detection
  }

  #report ({ outcome, nodes, latencies, tookMs }: Detection, before: string | undefined): void {
    const { log } = this.#options
    const fields = { region: this.#state.region, latencies: Object.fromEntries(latencies), ms: tookMs, reached: nodes.filter(node => node.medianMs !== null).length, nodes: nodes.length }
    if (outcome === 'unreachable') log('warn', 'no super-node in reach, region stays', fields)
    else if (outcome === 'changed') log('warn', 'region changed', { ...fields, before })
    else log('info', outcome === 'first' ? 'region detected' : 'region measured', fields)
  }

  #change (apply: () => void): void {
    const before = this.current
    apply()
    const after = this.current
    if (after !== before) for (const listener of this.#listeners) listener(after)
  }

  #inBackground (): void {
    if (!this.#started || this.#closed || this.#override !== undefined) return
    this.detect().catch((error: unknown) => {
      if (this.#closed) return
      if (isLocalLack(error)) this.#options.log('warn', 'region is not measured for want of descriptors or ports, it stays', { region: this.current })
      else this.#options.log('error', 'region detection failed', { error: String(error) })
    })
  }

  /** Detects after `delay` ms, or as soon after that as it may. */
  #after (delay: number): void {
    const { mayMeasure = () => true, intervalMs } = this.#options
    this.#timer = setTimeout(() => {
      if (mayMeasure()) this.#inBackground()
      else this.#after(Math.min(RETRY_MS, intervalMs))
    }, delay).unref()
  }

  #schedule (): void {
    clearTimeout(this.#timer)
    if (!this.#started || this.#closed || this.#override !== undefined) return
    const { intervalMs } = this.#options
    const delay = this.#lacking || this.#last?.outcome === 'unreachable' ? Math.min(RETRY_MS, intervalMs) : intervalMs
    this.#after(delay)
  }
}
