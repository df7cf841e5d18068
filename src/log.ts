import { pino, stdSerializers, type DestinationStream, type Logger } from 'pino'

/** A URL with the value of every `token` parameter removed. */
export function redactUrl (url: string): string {
  return url.replace(/([?&](?:token|sig)=)[^&#]*/gi, '$1[redacted]')
}

/** The relay's log: JSON lines with ISO times; tokens never reach it. */
export function createLogger (level: string, destination?: DestinationStream): Logger {
  const options = {
    level,
    base: { name: 'icn-relay', pid: process.pid },
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label: string) => ({ level: label }) },
    redact: {
      paths: ['authorization', '*.authorization', '*.*.authorization', 'token', '*.token', '*.*.token', 'tokens', '*.tokens'],
      censor: '[redacted]'
    },
    serializers: { err: stdSerializers.err }
  }
  return destination === undefined ? pino(options) : pino(options, destination)
}

export type { Logger }
