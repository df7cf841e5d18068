import type { Spent } from '../../admission/shared-buckets.ts'
import type { Clock } from '../../base/clock.ts'
import { deferred, type Deferred } from '../../base/deferred.ts'
import { RelayError } from '../../base/errors.ts'
import { checkFromGateway, type FromGateway, type GatewayStats, type ListeningInfo, type SessionRow } from '../../channel/from-gateway.ts'
import type { GatewaySettings, ToGateway } from '../../channel/to-gateway.ts'
import type { Demand } from '../../pacing/split-budget.ts'
import type { GatewayProcess, StartGateway } from '../../spawn/gateway-process.ts'
import type { ShardService } from '../shards/shard-service.ts'
import { GatewayRequests, type ResponseCount } from './gateway-requests.ts'
import { GatewayQuestions } from './gateway-questions.ts'
import type { LiveRecord } from './live-record.ts'
import { countEarly, DEFAULT_RESTART_POLICY, restartDelay } from './restart-policy.ts'

/** Why a gateway ended: by itself, or killed because it was silent, too large, or did not keep to the protocol. */
export type GatewayEnd = 'exit' | 'hang' | 'memory' | 'protocol'

export interface SupervisorOptions {
  /** Asked at every start, so that a restarted gateway gets the ports its viewers know. */
  readonly settings: () => GatewaySettings
  readonly live: LiveRecord
  readonly shards: Pick<ShardService, 'open'>
  readonly responses?: ResponseCount
  /** A gateway silent for longer is killed, ms. */
  readonly hangMs: number
  /** A gateway above this is replaced, bytes of resident memory. */
  readonly maxRssBytes: number
  readonly clock: Clock
  readonly observer: SupervisorObserver
  readonly log: (level: 'debug' | 'info' | 'warn' | 'error', message: string, fields?: Record<string, unknown>) => void
  readonly start: StartGateway
}

/** What the supervisor reports; implementations must not throw. */
export interface SupervisorObserver {
  restarted (reason: GatewayEnd): void
  heartbeat (stats: GatewayStats): void
  /** What the viewers of the gateway ask for; undefined when it has ended. */
  demand (demand: Demand | undefined): void
  listening (info: ListeningInfo): void
  /** Responses that the gateway has sent. */
  access (report: Extract<FromGateway, { type: 'access' }>): void
}

/** A start that has not reported its listeners by then counts as a hang, ms: tsx and a cold disk take a while. */
const START_MS = 20_000
/** Of the time to stop, what the gateway needs after its sessions to free its ports, ms; never more than half of it. */
const CLOSE_MS = 1_000
/** Notes remembered, so that each is logged once. */
const MAX_NOTES = 100
/** Output of the child kept for the log line about its end, characters. */
const OUTPUT_CHARS = 4_000

interface Life {
  readonly process: GatewayProcess
  readonly requests: GatewayRequests
  readonly startedAt: number
  heardAt: number
  readonly ended: Deferred<undefined>
  listening: ListeningInfo | undefined
  stats: GatewayStats | undefined
  reason: GatewayEnd
  output: string
}

/** Keeps one gateway process alive: starts it, hears its heartbeat, kills it when it hangs, starts it again. */
export class Supervisor {
  readonly #options: SupervisorOptions
  readonly #questions = new GatewayQuestions()
  readonly #told = new Set<string>()
  #life: Life | undefined
  /** Settles when the first gateway listens or has ended. */
  readonly #first = deferred<undefined>()
  #early = 0
  #restartTimer: NodeJS.Timeout | undefined
  #watch: NodeJS.Timeout | undefined
  #lookedAt = 0
  #stopping: Promise<void> | undefined

  constructor (options: SupervisorOptions) {
    this.#options = options
    options.live.onUpdate(changed => { this.#send({ type: 'update', live: changed }) })
  }

  /** What the gateway listens on; undefined while there is none. */
  get listening (): ListeningInfo | undefined { return this.#life?.listening }
  /** Process id of the gateway; undefined while there is none. */
  get pid (): number | undefined { return this.#life?.process.pid }
  get leases (): number { return this.#life?.requests.leases ?? 0 }
  get stats (): GatewayStats | undefined { return this.#life?.stats }

  /** Sizes of every map and queue on both sides of the channel. */
  sizes (): Record<string, number> {
    return { ...this.#life?.stats?.sizes, ...this.#life?.requests.sizes(), 'relay.questions': this.#questions.size }
  }

  /** Starts the gateway and waits for its listeners; when the first start fails, the restarts go on behind. */
  async start (): Promise<ListeningInfo | undefined> {
    if (this.#stopping !== undefined) return undefined
    const { clock, hangMs } = this.#options
    this.#lookedAt = clock.monotonic()
    this.#watch = setInterval(() => { this.#look() }, Math.max(50, hangMs / 4)).unref()
    this.#spawn()
    const timer = setTimeout(() => { this.#first.resolve(undefined) }, START_MS)
    await this.#first.promise
    clearTimeout(timer)
    return this.listening
  }

  /** Requests that addresses have sent over HTTP. */
  tellSpent (spent: Spent): void { this.#send({ type: 'spent', spent }) }

  async sessions (): Promise<readonly SessionRow[]> {
    const rows = await this.#ask(id => ({ type: 'list', id }))
    return typeof rows === 'boolean' ? [] : rows
  }

  async disconnect (session: string): Promise<boolean> {
    return await this.#ask(id => ({ type: 'disconnect', id, session })) === true
  }

  /** Sessions are asked to move and get most of `deadlineMs` to finish; the process is gone within it. Idempotent. */
  async stop (deadlineMs: number): Promise<void> {
    await (this.#stopping ??= this.#stop(deadlineMs))
  }

  async #stop (deadlineMs: number): Promise<void> {
    clearInterval(this.#watch)
    clearTimeout(this.#restartTimer)
    this.#first.resolve(undefined)
    const life = this.#life
    if (life === undefined) return
    this.#send({ type: 'stop', deadlineMs: Math.max(deadlineMs - CLOSE_MS, deadlineMs / 2) })
    const timer = setTimeout(() => { this.#kill(life, 'hang') }, deadlineMs)
    await life.ended.promise
    clearTimeout(timer)
  }

  #spawn (): void {
    if (this.#stopping !== undefined) return
    try {
      this.#begin()
    } catch (error) {
      // Out of memory or descriptors; both pass.
      this.#options.log('error', 'gateway process cannot be started', { error: String(error) })
      this.#again('exit', 0)
    }
  }

  #begin (): void {
    const { clock, shards, log, start, settings, live, responses } = this.#options
    const process = start({
      message: message => { this.#hear(life, message) },
      broken: detail => { this.#broke(life, detail) },
      output: text => { life.output = (life.output + text).slice(-OUTPUT_CHARS) },
      failed: error => { log('error', 'gateway process', { error: error.message }) },
      closed: (code, signal) => { this.#ended(life, code, signal) }
    })
    const now = clock.monotonic()
    const life: Life = { process, requests: new GatewayRequests(shards, process.send, responses), startedAt: now, heardAt: now, ended: deferred<undefined>(), listening: undefined, stats: undefined, reason: 'exit', output: '' }
    this.#life = life
    this.#send({ type: 'start', settings: settings(), live: live.current })
  }

  #hear (life: Life, value: unknown): void {
    if (life.reason !== 'exit' || this.#life !== life) return
    const message = checkFromGateway(value)
    if (typeof message === 'string') {
      this.#broke(life, message)
      return
    }
    life.heardAt = this.#options.clock.monotonic()
    this.#take(life, message)
  }

  #broke (life: Life, detail: string): void {
    this.#options.log('error', 'gateway broke the protocol', { detail })
    this.#kill(life, 'protocol')
  }

  #take (life: Life, message: FromGateway): void {
    const { log, observer } = this.#options
    switch (message.type) {
      case 'listening': this.#listens(life, message.info); break
      case 'failed': log('error', 'gateway cannot start', { detail: message.detail }); break
      case 'heartbeat':
        life.stats = message.stats
        observer.heartbeat(message.stats)
        if (message.stats.rssBytes > this.#options.maxRssBytes) this.#kill(life, 'memory')
        break
      case 'access': observer.access(message); break
      case 'demand': observer.demand(message.demand); break
      case 'sessions': this.#questions.answered(message.id, message.rows); break
      case 'disconnected': this.#questions.answered(message.id, message.found); break
      case 'log': log(message.level, message.message, { ...message.fields, process: 'gateway' }); break
      case 'resolve': case 'cancel': case 'read': case 'release': life.requests.take(message); break
    }
  }

  #listens (life: Life, info: ListeningInfo): void {
    life.listening = info
    for (const note of info.notes) {
      // A transport that stays closed is not news at every restart.
      if (this.#told.has(note) || this.#told.size >= MAX_NOTES) continue
      this.#told.add(note)
      this.#options.log(note.startsWith('no ') ? 'warn' : 'info', note, Object.fromEntries(Object.entries(info.open).map(([name, { port }]) => [name, port])))
    }
    this.#options.observer.listening(info)
    this.#first.resolve(undefined)
  }

  #look (): void {
    const { clock, hangMs } = this.#options
    const now = clock.monotonic()
    const missed = now - this.#lookedAt > hangMs
    this.#lookedAt = now
    const life = this.#life
    if (life === undefined) return
    // This process was the one that stood still: what the gateway said meanwhile has not been read yet.
    if (missed) life.heardAt = now
    else if (now - life.heardAt > (life.listening === undefined ? START_MS : hangMs)) this.#kill(life, 'hang')
  }

  #kill (life: Life, reason: GatewayEnd): void {
    if (life.reason === 'exit') life.reason = reason
    life.process.kill()
  }

  #ended (life: Life, code: number | null, signal: NodeJS.Signals | null): void {
    life.requests.end()
    life.ended.resolve(undefined)
    this.#life = undefined
    this.#options.observer.demand(undefined)
    this.#questions.ended()
    const facts = { reason: life.reason, code, signal, output: life.output === '' ? undefined : life.output }
    if (this.#stopping === undefined) {
      this.#options.log('error', 'gateway ended', facts)
      this.#again(life.reason, this.#options.clock.monotonic() - life.startedAt)
    } else if (code !== 0) this.#options.log('warn', 'gateway ended otherwise than it was told', facts)
  }

  #again (reason: GatewayEnd, livedMs: number): void {
    this.#first.resolve(undefined)
    const delay = restartDelay(this.#early, DEFAULT_RESTART_POLICY)
    this.#early = countEarly(this.#early, livedMs, DEFAULT_RESTART_POLICY)
    this.#options.observer.restarted(reason)
    this.#options.log('info', 'gateway is started again', { delay })
    this.#restartTimer = setTimeout(() => { this.#spawn() }, delay)
  }

  #send (message: ToGateway): void {
    this.#life?.process.send(message)
  }

  async #ask (question: (id: number) => ToGateway): Promise<readonly SessionRow[] | boolean> {
    if (this.listening === undefined) throw new RelayError('RELAY_ERR_GATEWAY', 'the gateway is not running')
    return await this.#questions.ask(id => { this.#send(question(id)) })
  }
}
