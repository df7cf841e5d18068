import { pino, stdSerializers, type DestinationStream, type Logger } from 'pino'

const SECRET_PARAMETER = /^(?:token|ticket|sig)$/i

/** Characters of a URL, or of another text of a stranger, that a line of the log may have. */
export const MAX_LOGGED_CHARS = 512

/**
 * A URL with the value of every `token`, `ticket` and `sig` parameter removed, however the name is spelled. A value ends at the next `&` and nowhere
 * else: requests carry no fragments, so what stands behind a `#` still belongs to it.
 */
export function redactUrl (url: string): string {
  let hiding = false
  return url.split(/(?=[?&#])/).map(piece => {
    if (hiding && !piece.startsWith('&')) return ''
    const equals = piece.indexOf('=')
    hiding = equals > 0 && SECRET_PARAMETER.test(decodeName(piece.slice(1, equals)))
    return hiding ? `${piece.slice(0, equals)}=[redacted]` : piece
  }).join('')
}

/** A text of a stranger, cut so that he does not decide how long a line is. */
export function shortened (text: string): string {
  return text.length <= MAX_LOGGED_CHARS ? text : `${text.slice(0, MAX_LOGGED_CHARS)}… (${text.length} characters)`
}

/** A URL as it stands in the log. */
export function loggedUrl (url: string): string {
  // Cut first: what is left of a name without its value tells nothing.
  return redactUrl(shortened(url))
}

function decodeName (name: string): string {
  try {
    return decodeURIComponent(name)
  } catch {
    return name
  }
}

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
