import assert from 'node:assert/strict'
import { RelayError, type ErrorCode } from '../../src/base/errors.ts'

/* What the targets in test/fuzz share. A target is a module with `fuzz(data)`, which throws when something does not hold. */

/** Octets as text, one to one, as header fields are read. */
export function latin1 (data: Uint8Array): string {
  return Buffer.from(data).toString('latin1')
}

/** What `read` returns; undefined when it throws a RelayError of one of these codes, and nothing else may be thrown. */
export function orRefused<T> (codes: readonly ErrorCode[], read: () => T): T | undefined {
  try {
    return read()
  } catch (error) {
    if (error instanceof RelayError && codes.includes(error.code)) return undefined
    throw error
  }
}

/** Value or error of `read`, as one text that two readings can be compared by. */
export function outcome (read: () => unknown): string {
  try {
    return JSON.stringify(read()) ?? 'undefined'
  } catch (error) {
    return `threw ${String(error)}`
  }
}

/** The same bytes in chunks of each of these sizes, each in an array of its own. */
export function chunked (data: Uint8Array, size: number): Buffer[] {
  return Array.from({ length: Math.ceil(data.length / size) }, (_, index) => Buffer.from(data.subarray(index * size, (index + 1) * size)))
}

/** Holds the outcome of `read` to depend on the bytes alone, not on how they were cut. */
export function sameInPieces (data: Uint8Array, read: (chunks: Buffer[]) => unknown): void {
  const whole = outcome(() => read([Buffer.from(data)]))
  // A size that the input chooses, so that cuts come to stand anywhere; and single bytes while that is cheap.
  for (const size of [1 + (data[0] ?? 0), ...data.length <= 256 ? [1] : []]) {
    assert.equal(outcome(() => read(chunked(data, size))), whole, `in chunks of ${size}`)
  }
}
