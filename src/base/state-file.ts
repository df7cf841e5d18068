import type { ValidateFunction } from 'ajv'
import { RelayError } from './errors.ts'

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
