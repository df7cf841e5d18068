/* Numbers as people read them. */

const UNITS = ['B', 'kB', 'MB', 'GB', 'TB'] as const

/** Bytes. */
export function sizeText (bytes: number): string {
  const power = bytes < 1_000 ? 0 : Math.min(UNITS.length - 1, Math.floor(Math.log10(bytes) / 3))
  return `${power === 0 ? Math.round(bytes) : (bytes / 1_000 ** power).toFixed(1)} ${UNITS[power] ?? ''}`
}

const BIT_UNITS = ['bit/s', 'kbit/s', 'Mbit/s', 'Gbit/s', 'Tbit/s'] as const

/** Bits per second. */
export function rateText (bps: number): string {
  const power = bps < 1_000 ? 0 : Math.min(BIT_UNITS.length - 1, Math.floor(Math.log10(bps) / 3))
  return `${power === 0 ? Math.round(bps) : (bps / 1_000 ** power).toFixed(1)} ${BIT_UNITS[power] ?? ''}`
}

/** Seconds, whole ones; from a day on without them. */
export function timeText (seconds: number): string {
  const [minutes, hours, days] = [Math.floor(seconds / 60), Math.floor(seconds / 3_600), Math.floor(seconds / 86_400)]
  if (days > 0) return `${days} d ${hours % 24} h`
  return hours > 0 ? `${hours} h ${minutes % 60} min` : minutes > 0 ? `${minutes} min ${seconds % 60} s` : `${seconds} s`
}

/** A share of 1. */
export const percentText = (share: number): string => `${(share * 100).toFixed(1)} %`

/** Rows with their columns in line; a column of numbers is at the right. @param right which columns are */
export function tableText (rows: readonly (readonly string[])[], right: readonly number[] = []): string {
  const widths = rows.reduce<number[]>((most, row) => row.map((cell, column) => Math.max(most[column] ?? 0, cell.length)), [])
  return rows.map(row => `${row.map((cell, column) => right.includes(column) ? cell.padStart(widths[column] ?? 0) : cell.padEnd(widths[column] ?? 0)).join('  ').trimEnd()}\n`).join('')
}
