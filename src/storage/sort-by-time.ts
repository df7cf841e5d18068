const DIGITS = 4
const VALUES = 2 ** 16
const LITTLE_ENDIAN = new Uint8Array(new Uint16Array([1]).buffer)[0] === 1

/**
 * Says in which order times come, equal ones as they were: a radix sort, since numbers that are not negative are in the order of their bits. A million
 * take some 50 ms, against half a second by comparison.
 * @param times not negative; not to be changed meanwhile
 * @returns in steps between which other work may be done, the positions of the times, the earliest first
 */
export function * sortByTime (times: Float64Array<ArrayBuffer>): Generator<void, Uint32Array> {
  const { length } = times
  const digits = new Uint16Array(times.buffer, times.byteOffset, length * DIGITS)
  let order = new Uint32Array(length)
  for (let n = 0; n < length; n++) order[n] = n
  let other = new Uint32Array(length)
  yield
  for (let step = 0; step < DIGITS; step++) {
    const digit = LITTLE_ENDIAN ? step : DIGITS - 1 - step
    const places = placesOf(digits, digit)
    yield
    // Of the first digit, times of some years have one value.
    if (places === undefined) continue
    spread(digits, digit, places, order, other)
    ;[order, other] = [other, order]
    yield
  }
  return order
}

/*
 * Functions of their own, since V8 does not optimise the loops of a generator that is called once: they take half as long again.
 */

/** Where those of each value go; undefined when all have the same. */
function placesOf (digits: Uint16Array, digit: number): Uint32Array | undefined {
  const places = new Uint32Array(VALUES + 1)
  for (let at = digit; at < digits.length; at += DIGITS) {
    const after = (digits[at] ?? 0) + 1
    places[after] = (places[after] ?? 0) + 1
  }
  if (digits.length > 0 && places[(digits[digit] ?? 0) + 1] === digits.length / DIGITS) return undefined
  for (let value = 1; value < VALUES; value++) places[value] = (places[value] ?? 0) + (places[value - 1] ?? 0)
  return places
}

function spread (digits: Uint16Array, digit: number, places: Uint32Array, order: Uint32Array, other: Uint32Array): void {
  for (let n = 0; n < order.length; n++) {
    const key = order[n] ?? 0
    const value = digits[key * DIGITS + digit] ?? 0
    const place = places[value] ?? 0
    places[value] = place + 1
    other[place] = key
  }
}
