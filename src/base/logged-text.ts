const SECRET_PARAMETER = /^(?:token|ticket|sig)$/i

/** Characters of a URL, or of another text of a stranger, that a line of a log may have. */
export const MAX_LOGGED_CHARS = 512

/**
 * A URL with the value of every `token`, `ticket` and `sig` parameter removed, however the name is spelled. A value ends at the next `&` and nowhere
 * else: requests carry no fragments, so what stands behind a `#` still belongs to it.
 */
export function redactUrl (url: string): string {
  if (!url.includes('=')) return url
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

/** A URL as it stands in a log. */
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
