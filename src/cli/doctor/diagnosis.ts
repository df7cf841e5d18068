/** What one look at the machine or the configuration has found. */
export interface Diagnosis {
  /** What was looked at, a word or two. */
  readonly name: string
  readonly level: 'ok' | 'warn' | 'fail'
  /** What is so. */
  readonly says: string
  /** What to do about it; with every finding that is not `ok`. */
  readonly cure?: string
}

export const ok = (name: string, says: string): Diagnosis => ({ name, level: 'ok', says })
export const warn = (name: string, says: string, cure: string): Diagnosis => ({ name, level: 'warn', says, cure })
export const fail = (name: string, says: string, cure: string): Diagnosis => ({ name, level: 'fail', says, cure })

/** Bytes as people say them. */
export function sizeText (bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB']
  const unit = Math.min(units.length - 1, Math.floor(Math.log2(Math.max(1, bytes)) / 10))
  return `${Number((bytes / 1024 ** unit).toPrecision(3))} ${units[unit] ?? ''}`
}
