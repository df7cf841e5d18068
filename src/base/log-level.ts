import type { Logger } from './log.ts'

/** Levels of the log, from the least talkative to the most; `silent` writes nothing. */
export const LOG_LEVELS = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'] as const
export type LogLevelName = typeof LOG_LEVELS[number]

/** The level of a logger, which its children have too: those of pino have one of their own only when they are given it. */
export class LogLevel {
  readonly #logger: Logger
  readonly #listeners: (() => void)[] = []

  constructor (logger: Logger) {
    this.#logger = logger
  }

  get current (): LogLevelName { return LOG_LEVELS.find(name => name === this.#logger.level) ?? 'info' }
  /** Whether debug lines are written. */
  get debug (): boolean { return this.#logger.isLevelEnabled('debug') }

  change (level: LogLevelName): void {
    this.#logger.level = level
    for (const listener of this.#listeners) listener()
  }

  onChange (listener: () => void): void {
    this.#listeners.push(listener)
  }
}
