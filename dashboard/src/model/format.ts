/* Numbers as people read them. Nothing here is read back. */

const DECIMAL = ['', 'k', 'M', 'G', 'T', 'P'] as const
export const UNKNOWN = '–'

/** Three digits that say something: 1.23, 12.3, 123. */
function threeDigits (value: number): string {
  const size = Math.abs(value)
  return value.toFixed(size >= 99.95 || Number.isInteger(value) ? 0 : size >= 9.995 ? 1 : 2)
}

function scaled (value: number, unit: string): string {
  if (!Number.isFinite(value)) return UNKNOWN
  let rest = value
  let power = 0
  while (Math.abs(rest) >= 999.5 && power < DECIMAL.length - 1) {
    rest /= 1_000
    power++
  }
  return `${threeDigits(power === 0 ? Math.round(rest) : rest)} ${DECIMAL[power] ?? ''}${unit}`.trim()
}

/** @param value bytes */
export const bytesText = (value: number | null | undefined): string => value === null || value === undefined ? UNKNOWN : scaled(value, 'B')
/** @param value bits per second */
export const bitRateText = (value: number | null | undefined): string => value === null || value === undefined ? UNKNOWN : scaled(value, 'bit/s')
export function countText (value: number | null | undefined): string {
  if (value === null || value === undefined) return UNKNOWN
  return Math.abs(value) < 100_000 ? Math.round(value).toLocaleString('en-GB') : scaled(value, '')
}
/** @param value in a second */
export const perSecondText = (value: number | null | undefined): string => value === null || value === undefined ? UNKNOWN : `${value < 10 ? threeDigits(value) : countText(value)}/s`

/** As a mark of an axis: without zeros that say nothing. */
export const markText = (text: string): string => text.replace(/(\.\d*?)0+(?= |$)/, '$1').replace(/\.(?= |$)/, '')

/** @param value of 1 */
export function percentText (value: number | null | undefined): string {
  const percent = (value ?? NaN) * 100
  if (!Number.isFinite(percent)) return UNKNOWN
  const digits = percent === 0 || percent === 100 ? 0 : Math.abs(percent) < 99 ? 1 : 2
  // What is nearly all is not all.
  const shown = percent < 100 && percent.toFixed(digits) === (100).toFixed(digits) ? `>${(100 - 10 ** -digits).toFixed(digits)}` : percent.toFixed(digits)
  return `${shown.replace('-', '−')} %`
}

/** @param value seconds */
export function durationText (value: number | null | undefined): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return UNKNOWN
  if (value < 1) return `${threeDigits(Math.max(0, value) * 1_000)} ms`
  if (value < 60) return `${threeDigits(value)} s`
  const minutes = Math.floor(value / 60)
  if (minutes < 60) return `${minutes} min`
  const hours = Math.floor(minutes / 60)
  if (hours < 48) return `${hours} h ${minutes % 60} min`
  return `${Math.floor(hours / 24)} d ${hours % 24} h`
}

/** @param value milliseconds */
export const msText = (value: number | null | undefined): string => value === null || value === undefined ? UNKNOWN : durationText(value / 1_000)

/** How long ago, or how long yet. @param at ms since the epoch, as is `now` */
export function agoText (at: number, now: number): string {
  const seconds = (now - at) / 1_000
  if (Math.abs(seconds) < 1) return 'just now'
  const size = durationText(Math.abs(Math.round(seconds)))
  return seconds > 0 ? `${size} ago` : `in ${size}`
}

/** As `14:03:07`. @param at ms since the epoch */
export const clockText = (at: number): string => new Date(at).toLocaleTimeString('en-GB')
/** As `2026-12-01 14:03`. @param at ms since the epoch */
export function dateText (at: number): string {
  const date = new Date(at)
  const two = (number: number): string => String(number).padStart(2, '0')
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())} ${two(date.getHours())}:${two(date.getMinutes())}`
}

/** A number and what it counts. */
export const plural = (count: number, one: string, many = `${one}s`): string => `${countText(count)} ${count === 1 ? one : many}`
