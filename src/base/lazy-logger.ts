import type { Bindings, ChildLoggerOptions } from 'pino'
import type { Logger } from './log.ts'

/** A child of a logger that is made with its first line: most requests write none, and a child costs more than the rest of a small answer's log. */
export class LazyLogger {
  readonly #parent: Logger
  readonly #bindings: Bindings
  readonly #options: ChildLoggerOptions
  #own: Logger | undefined

  constructor (parent: Logger, bindings: Bindings, options: ChildLoggerOptions) {
    this.#parent = parent
    this.#bindings = bindings
    this.#options = options
  }

  get level (): string { return this.#own?.level ?? this.#parent.level }
  set level (level: string) { this.#logger.level = level }

  fatal (...line: unknown[]): void { this.#write('fatal', line) }
  error (...line: unknown[]): void { this.#write('error', line) }
  warn (...line: unknown[]): void { this.#write('warn', line) }
  info (...line: unknown[]): void { this.#write('info', line) }
  debug (...line: unknown[]): void { this.#write('debug', line) }
  trace (...line: unknown[]): void { this.#write('trace', line) }
  silent (): void {}

  child (bindings: Bindings, options?: ChildLoggerOptions): Logger {
    return this.#logger.child(bindings, options)
  }

  get #logger (): Logger {
    this.#own ??= this.#parent.child(this.#bindings, this.#options)
    return this.#own
  }

  #write (level: 'fatal' | 'error' | 'warn' | 'info' | 'debug' | 'trace', line: unknown[]): void {
    if (this.#own === undefined && !this.#parent.isLevelEnabled(level)) return
    const [first, ...rest] = line
    this.#logger[level](first as object, ...rest as [string?, ...unknown[]])
  }
}
