import { readFile, rm, stat } from 'node:fs/promises'
import type { ValidateFunction } from 'ajv'
import { RelayError, systemCode } from './errors.ts'
import { keepBeside } from './replace-file.ts'

/** A whole file of another version of the relay: none of what is in it may get lost. */
export class OtherVersionError extends RelayError {}

/**
 * What a state file holds.
 * @param version that this relay reads; without it the schema alone tells
 * @throws RelayError RELAY_ERR_CONFIG when the text is not JSON or not what the schema says, {@link OtherVersionError} when it is of another version
 */
export function parseState<T> (text: string, isState: ValidateFunction<T>, version?: number): T {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    throw new RelayError('RELAY_ERR_CONFIG', 'it is not JSON', { cause: error })
  }
  if (isState(value)) return value
  const found = typeof value === 'object' && value !== null && 'version' in value ? value.version : undefined
  if (version !== undefined && typeof found === 'number' && found !== version) throw new OtherVersionError('RELAY_ERR_CONFIG', `it is of version ${found}, and this relay reads ${version}`)
  const [error] = isState.errors ?? []
  throw new RelayError('RELAY_ERR_CONFIG', `${error?.instancePath ?? ''} ${error?.message ?? 'is wrong'}`)
}

/**
 * The state kept in a file; undefined when there is none, and when it cannot be used. A file that holds something else is moved aside,
 * to `<file>.damaged-<ms>`, or `<file>.other-version-<ms>` when another version of the relay wrote it.
 * @param parse throws RelayError when the text is no such state
 * @param tell of a file that cannot be used; `aside` is its name now, undefined when it could not be moved
 */
export async function loadState<T> (file: string, maxBytes: number, parse: (text: string) => T, tell: (fields: { file: string, aside: string | undefined, reason: string }) => void): Promise<T | undefined> {
  try {
    const { size } = await stat(file)
    if (size > maxBytes) throw new RelayError('RELAY_ERR_CONFIG', `it has ${size} bytes, and this relay reads ${maxBytes}`)
    return parse(await readFile(file, 'utf8'))
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return undefined
    const aside = error instanceof RelayError ? await moveAside(file, error instanceof OtherVersionError ? 'other-version' : 'damaged') : undefined
    tell({ file, aside, reason: error instanceof Error ? error.message : String(error) })
    return undefined
  }
}

/** @returns its name now; undefined when the disk refuses */
async function moveAside (file: string, why: string): Promise<string | undefined> {
  try {
    const aside = await keepBeside(file, why)
    await rm(file)
    return aside
  } catch {
    return undefined
  }
}
