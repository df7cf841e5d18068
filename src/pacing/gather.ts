import type { ReadAllowance } from './throttle.ts'

/**
 * Takes until `wanted` bytes are together. Grants are as small as exact shares need them, a few packets; reading, sending and telling the
 * engine of each of them alone would cost several times the CPU of the bytes.
 * @throws as `take`; what had been granted is given back then
 */
export function gather (allowance: Pick<ReadAllowance, 'take' | 'giveBack'>, wanted: number, signal: AbortSignal): number | Promise<number> {
  const first = allowance.take(wanted, signal)
  return typeof first === 'number' && first >= wanted ? first : more(allowance, wanted, signal, first)
}

async function more (allowance: Pick<ReadAllowance, 'take' | 'giveBack'>, wanted: number, signal: AbortSignal, first: number | Promise<number>): Promise<number> {
  let bytes = 0
  try {
    for (bytes = await first; bytes < wanted;) bytes += await allowance.take(wanted - bytes, signal)
  } catch (error) {
    allowance.giveBack(bytes)
    throw error
  }
  return bytes
}
