/* How people write values and names in a configuration: sizes and times with units, keys that are nearly right, and tables in tables. */

/** Bytes. */
const SIZES: Readonly<Record<string, number>> = {
  B: 1, kB: 1e3, KB: 1e3, MB: 1e6, GB: 1e9, TB: 1e12, PB: 1e15, KiB: 2 ** 10, MiB: 2 ** 20, GiB: 2 ** 30, TiB: 2 ** 40, PiB: 2 ** 50
}
/** Milliseconds. */
const TIMES: Readonly<Record<string, number>> = { ms: 1, s: 1e3, min: 6e4, h: 36e5, d: 864e5 }

const UNITS = { size: SIZES, time: TIMES } as const
export type Unit = keyof typeof UNITS

/** What a value with a unit may look like, for messages. */
export const UNIT_EXAMPLES: Readonly<Record<Unit, string>> = { size: 'bytes, or a size such as "500MB", "1TB" or "64MiB"', time: 'milliseconds, or a time such as "500ms", "3s" or "5min"' }

/** A size in bytes or a time in milliseconds that is written with its unit; undefined when the text is none, or no whole number of them. */
export function fromUnits (text: string, unit: Unit): number | undefined {
  const [, number, name = ''] = /^(\d{1,15}(?:\.\d{1,6})?) ?([A-Za-z]{1,3})$/.exec(text) ?? []
  const factor = Object.hasOwn(UNITS[unit], name) ? UNITS[unit][name] : undefined
  if (number === undefined || factor === undefined) return undefined
  const value = Math.round(Number(number) * factor * 1e3) / 1e3
  return Number.isSafeInteger(value) ? value : undefined
}

/** Tables and lists within each other that are looked at: twice what any key has. */
export const MAX_DEPTH = 8

/** Whether tables and lists stand in each other deeper than this: what works on them takes a level of the stack for each. */
export function isDeeper (value: unknown, depth: number): boolean {
  return typeof value === 'object' && value !== null && (depth === 0 || Object.values(value).some(inner => isDeeper(inner, depth - 1)))
}

/** Edits that a slip of the fingers takes: insertions, deletions, replacements, and neighbours swapped. */
function distance (a: string, b: string): number {
  let before: number[] = []
  let last = Array.from({ length: b.length + 1 }, (_, n) => n)
  for (let i = 1; i <= a.length; i++) {
    const row = [i]
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1]
      let edits = Math.min((row[j - 1] ?? 0) + 1, (last[j] ?? 0) + 1, (last[j - 1] ?? 0) + (same ? 0 : 1))
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) edits = Math.min(edits, (before[j - 2] ?? 0) + 1)
      row.push(edits)
    }
    before = last
    last = row
  }
  return last[b.length] ?? 0
}

/** Longest name that is compared. */
const MAX_NAME = 64

/** The name that was meant, when one is near enough: a third of its letters may differ. */
export function nearest (name: string, known: readonly string[]): string | undefined {
  if (name.length > MAX_NAME) return undefined
  const ranked = known.map(other => ({ other, edits: distance(name.toLowerCase(), other) })).toSorted((a, b) => a.edits - b.edits)
  const [best] = ranked
  return best !== undefined && best.edits <= Math.max(1, Math.floor(best.other.length / 3)) ? best.other : undefined
}
