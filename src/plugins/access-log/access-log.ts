import type { Timers } from '../../base/clock.ts'
import type { Logger } from '../../base/log.ts'
import { systemCode } from '../../base/errors.ts'
import { AccessGate, type AccessSettings } from '../../channel/access-gate.ts'
import type { AccessRecord } from '../../channel/access-record.ts'
import type { Config } from '../../config/config.ts'
import { AccessFile, type AppendFiles } from './access-file.ts'
import { addressView } from './addresses.ts'
import { COMBINED } from './config.ts'
import { jsonOf } from './json-line.ts'
import { isoTime } from './line-time.ts'
import { RecordStream } from './record-stream.ts'
import { lineOf } from './template.ts'

export interface AccessLogDeps {
  /** Takes lines for standard output. */
  readonly output: (line: string) => void
  /** Of the hash of addresses. */
  readonly addressKey: Uint8Array
  readonly logger: Pick<Logger, 'info' | 'warn'>
  readonly timers: Timers
  /** Wall clock, ms since the epoch. */
  readonly now: () => number
  /** In [0, 1). */
  readonly random: () => number
  readonly files?: AppendFiles
}

export type AccessLogKeys = Config['access_log']

/** What of the settings may be changed while the relay runs. */
export type AccessSampling = Pick<AccessSettings, 'sampleHits' | 'sampleMisses' | 'scrapes'>

/** Who counts all records, with addresses and subjects as they are. */
export interface RecordObserver {
  readonly take: (record: AccessRecord) => void
  /** Records that did not come here. */
  readonly missed: (records: number) => void
}

/** Where records were lost, and how many since the start. */
export type DroppedRecords = Readonly<Record<'file' | 'budget' | 'gateway' | 'listener', number>>

function lineFormat ({ format, template }: AccessLogKeys): (record: AccessRecord, remote: string) => string {
  if (format === 'json') return jsonOf
  return lineOf(format === 'clf' ? COMBINED : template)
}

/** Every response of the relay on its way to a line and to those who watch. Nothing here waits: what cannot be written in time is dropped and counted. */
export class AccessLog {
  readonly stream: RecordStream
  readonly #deps: AccessLogDeps
  readonly #file: AccessFile | undefined
  readonly #format: (record: AccessRecord, remote: string) => string
  readonly #shown: (ip: string) => string
  readonly #gates: AccessGate[] = []
  readonly #listeners: ((settings: AccessSettings) => void)[] = []
  #settings: AccessSettings
  #observer: RecordObserver | undefined
  #lines = 0
  #leftOut = 0
  #lostByGateway = 0

  private constructor (keys: AccessLogKeys, file: AccessFile | undefined, deps: AccessLogDeps) {
    this.#deps = deps
    this.#file = file
    this.#format = lineFormat(keys)
    this.#shown = addressView(keys.addresses, deps.addressKey)
    this.#settings = { writes: keys.enabled, sampleHits: keys.sample_hits, sampleMisses: keys.sample_misses, scrapes: keys.scrapes, watched: false }
    this.stream = new RecordStream({ timers: deps.timers, watched: watched => { this.#set({ ...this.#settings, watched: watched || this.#observer !== undefined }) } })
  }

  /** @throws RelayError RELAY_ERR_CONFIG when its file cannot be opened */
  static async open (keys: AccessLogKeys, deps: AccessLogDeps): Promise<AccessLog> {
    const note = (dropped: number): string => keys.format === 'json' ? `{"time":"${isoTime(deps.now())}","msg":"access log lines dropped","dropped":${dropped}}\n` : ''
    const file = keys.path === '' || !keys.enabled ? undefined : await AccessFile.open(keys.path, note, deps.timers, deps.files)
    return new AccessLog(keys, file, deps)
  }

  get settings (): AccessSettings { return this.#settings }
  /** Lines since the start. */
  get lines (): number { return this.#lines }
  get dropped (): DroppedRecords { return { file: this.#file?.dropped ?? 0, budget: this.#leftOut, gateway: this.#lostByGateway, listener: this.stream.lost } }
  /** Whether a write to the file is under way, which may hold a thread. */
  get writing (): boolean { return this.#file?.writing ?? false }

  /** The decision for one place that answers requests; it follows the settings. */
  gate (): AccessGate {
    const { random, timers } = this.#deps
    const gate = new AccessGate({ settings: this.#settings, random, after: (ms, callback) => timers.after(ms, callback), leftOut: lines => { this.leftOut(lines) } })
    this.#gates.push(gate)
    return gate
  }

  /** @param written whether its gate wants it as a line; those who watch see it anyhow */
  take (record: AccessRecord, written: boolean): void {
    const remote = this.#shown(record.remote)
    if (written && this.#settings.writes) {
      this.#lines++
      const line = `${this.#format(record, remote)}\n`
      if (this.#file === undefined) this.#deps.output(line)
      else this.#file.write(line)
    }
    this.#observer?.take(record)
    if (this.#settings.watched) this.stream.take(record, remote)
  }

  /** From now on every record is made, whatever is sampled, and told to one who counts them. */
  observe (observer: RecordObserver): void {
    this.#observer = observer
    this.#set({ ...this.#settings, watched: true })
  }

  /** Failed requests that have no line, since there were too many in a second. */
  leftOut (lines: number): void {
    this.#leftOut += lines
    this.#deps.logger.info({ leftOut: lines }, 'refused requests left out of the access log')
  }

  /** Records that the gateway could not send. */
  missed (records: number): void {
    this.#lostByGateway += records
    this.#observer?.missed(records)
    this.stream.missed(records)
  }

  change (sampling: AccessSampling): void {
    this.#set({ ...this.#settings, ...sampling })
  }

  /** @param listener told of every change of the settings */
  onChange (listener: (settings: AccessSettings) => void): void {
    this.#listeners.push(listener)
  }

  /** Goes on in a new file of the same path, after a rotation; a path that cannot be opened is logged, and the file of before stays. Never rejects. */
  async reopen (): Promise<void> {
    try {
      await this.#file?.reopen()
    } catch (error) {
      this.#deps.logger.warn({ path: this.#file?.path, error: systemCode(error) ?? String(error) }, 'access_log.path cannot be opened anew, the file of before is written on')
    }
  }

  async close (): Promise<void> {
    this.stream.close()
    await this.#file?.close()
  }

  #set (settings: AccessSettings): void {
    this.#settings = settings
    for (const gate of this.#gates) gate.settings = settings
    for (const listener of this.#listeners) listener(settings)
  }
}
