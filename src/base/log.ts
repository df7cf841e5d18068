import { pino, stdSerializers, type DestinationStream, type Logger } from 'pino'

/** Children that follow their logger: concerns have one each, made at the start. Those of requests are short-lived, and begin with the level of their parent. */
const MAX_FOLLOWERS = 256

const followers = new WeakMap<Logger, Logger[]>()

/** Changes the level of a logger that {@link createLogger} has made, and of its children. */
export function setLevel (logger: Logger, level: string): void {
  for (const one of [logger, ...followers.get(logger) ?? []]) one.level = level
}

/** The relay's log: JSON lines with ISO times; tokens never reach it. */
export function createLogger (level: string, destination?: DestinationStream): Logger {
  const children: Logger[] = []
  const options = {
    level,
    base: { name: 'icn-relay', pid: process.pid },
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label: string) => ({ level: label }) },
    redact: {
      paths: ['authorization', '*.authorization', '*.*.authorization', 'token', '*.token', '*.*.token', 'tokens', '*.tokens', '*.*.tokens',
        'hs256_secret', '*.hs256_secret', '*.*.hs256_secret', '*.*.*.hs256_secret', 'signed_urls', '*.signed_urls', '*.*.signed_urls',
        'secret', '*.secret', '*.*.secret', '*.*.*.secret'],
      censor: '[redacted]'
    },
    serializers: { err: stdSerializers.err },
    onChild: (child: Logger) => { if (children.length < MAX_FOLLOWERS) children.push(child) }
  }
  const logger: Logger = destination === undefined ? pino(options) : pino(options, destination)
  followers.set(logger, children)
  return logger
}

/** What stands in the log for lines that nobody read in time. */
export function droppedNote (dropped: number, now: number): string {
  return `${JSON.stringify({ level: 'warn', time: new Date(now).toISOString(), name: 'icn-relay', pid: process.pid, dropped, msg: 'log lines dropped, nobody reads them' })}\n`
}

export type { Logger }
