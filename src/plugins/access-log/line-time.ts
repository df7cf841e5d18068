const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'] as const

/** Makes of a time, ms since the epoch, what `text` makes of its second, remembered while it is the same one: many lines fall into each. */
function bySecond (text: (date: Date) => string): (second: number) => string {
  let last = NaN
  let known = ''
  return second => {
    if (second !== last) {
      last = second
      known = text(new Date(second * 1_000))
    }
    return known
  }
}

const isoSecond = bySecond(date => date.toISOString().slice(0, 20))
const clfSecond = bySecond(date => {
  const [day = '', time = ''] = date.toISOString().split(/[T.]/)
  const [year = '', month = '', of = ''] = day.split('-')
  return `${of}/${MONTHS[Number(month) - 1] ?? ''}/${year}:${time} +0000`
})

/** RFC 3339 with milliseconds, UTC. @param ms since the epoch */
export function isoTime (ms: number): string {
  const second = Math.floor(ms / 1_000)
  return `${isoSecond(second)}${String(Math.floor(ms - second * 1_000)).padStart(3, '0')}Z`
}

/** As in the common log format: `10/Oct/2000:13:55:36 +0000`. @param ms since the epoch */
export function clfTime (ms: number): string {
  return clfSecond(Math.floor(ms / 1_000))
}
