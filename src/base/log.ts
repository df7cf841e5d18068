import { pino, stdSerializers, type DestinationStream, type Logger } from 'pino'

/** The relay's log: JSON lines with ISO times; tokens never reach it. */
export function createLogger (level: string, destination?: DestinationStream): Logger {
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
    serializers: { err: stdSerializers.err }
  }
  return destination === undefined ? pino(options) : pino(options, destination)
}

/** What stands in the log for lines that nobody read in time. */
export function droppedNote (dropped: number, now: number): string {
  return `${JSON.stringify({ level: 'warn', time: new Date(now).toISOString(), name: 'icn-relay', pid: process.pid, dropped, msg: 'log lines dropped, nobody reads them' })}\n`
}

export type { Logger }
