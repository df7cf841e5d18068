/** Optional white space is space and tab only (RFC 9110 §5.6.3). */
export function isOws (char: string | undefined): boolean {
  return char === ' ' || char === '\t'
}

/** Strips OWS at both ends in linear time; `trim()` would also take line ends and Unicode spaces. */
export function trimOws (text: string): string {
  let start = 0
  let end = text.length
  while (start < end && isOws(text[start])) start++
  while (end > start && isOws(text[end - 1])) end--
  return text.slice(start, end)
}
