/* Runs in browsers too: no Buffer here. */

/** Why a text is not taken for JSON. */
export type JsonFault = 'encoding' | 'syntax' | 'depth' | 'duplicate-key'

export class StrictJsonError extends Error {
  override readonly name = 'StrictJsonError'
  readonly fault: JsonFault

  constructor (fault: JsonFault, detail: string) {
    super(detail)
    this.fault = fault
  }
}

/**
 * Parses JSON of which every reader must see the same: valid UTF-8, no member twice, nothing nested deeper than `maxDepth`, no number
 * beyond a double, no half of a surrogate pair (the I-JSON of RFC 7493, which RFC 8785 builds on).
 * @throws StrictJsonError
 */
export function parseStrictJson (bytes: Uint8Array, maxDepth: number): unknown {
  let text: string
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch {
    throw new StrictJsonError('encoding', 'it is not UTF-8')
  }
  scan(text, maxDepth)
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    throw new StrictJsonError('syntax', 'it is not JSON')
  }
  checkScalars(value)
  return value
}

/** A string with its quotes. A quote that never ends is no string, and no JSON either. */
const STRING = /"(?:[^"\\]|\\[^])*"/y

/** Looks at nesting and names of members only; what it takes may still be no JSON. */
function scan (text: string, maxDepth: number): void {
  /** Names of the members of each open object; undefined for an array. */
  const open: (Set<string> | undefined)[] = []
  for (let at = 0; at < text.length; at++) {
    const char = text[at]
    if (char === '{' || char === '[') {
      if (open.length === maxDepth) throw new StrictJsonError('depth', `it is nested deeper than ${maxDepth}`)
      open.push(char === '{' ? new Set() : undefined)
    } else if (char === '}' || char === ']') {
      open.pop()
    } else if (char === '"') {
      STRING.lastIndex = at
      const [token] = STRING.exec(text) ?? []
      if (token === undefined) throw new StrictJsonError('syntax', 'a string does not end')
      at += token.length - 1
      const members = open.at(-1)
      if (members !== undefined && isName(text, at + 1)) addName(members, token)
    }
  }
}

function isName (text: string, from: number): boolean {
  let at = from
  while (text[at] === ' ' || text[at] === '\t' || text[at] === '\n' || text[at] === '\r') at++
  return text[at] === ':'
}

function addName (members: Set<string>, token: string): void {
  let name: unknown
  try {
    name = JSON.parse(token)
  } catch {
    throw new StrictJsonError('syntax', 'a name is not JSON')
  }
  if (typeof name !== 'string') return
  if (members.has(name)) throw new StrictJsonError('duplicate-key', `it has ${JSON.stringify(name.slice(0, 64))} twice`)
  members.add(name)
}

/** Half of a surrogate pair; with the `u` flag a whole pair is one character and no match. */
const LONE_SURROGATE = /\p{Surrogate}/u

function checkScalars (value: unknown): void {
  if (typeof value === 'string' && LONE_SURROGATE.test(value)) throw new StrictJsonError('encoding', 'a string has half of a surrogate pair')
  if (typeof value === 'number' && !Number.isFinite(value)) throw new StrictJsonError('syntax', 'a number is beyond a double')
  if (typeof value !== 'object' || value === null) return
  for (const [name, member] of Object.entries(value)) {
    checkScalars(name)
    checkScalars(member)
  }
}

/** The canonical text of a JSON value (RFC 8785): members sorted by UTF-16 code unit, no white space; undefined members are left out. */
export function canonicalJson (value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(',')}]`
  if (typeof value === 'object' && value !== null) {
    const members = Object.entries(value).filter(([, member]) => member !== undefined)
    members.sort(([a], [b]) => a < b ? -1 : 1)
    return `{${members.map(([key, member]) => `${JSON.stringify(key)}:${canonicalJson(member)}`).join(',')}}`
  }
  return JSON.stringify(value)
}
