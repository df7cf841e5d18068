import assert from 'node:assert/strict'
import { parseCommandLine } from '../../src/cli/arguments.ts'
import { combine } from '../../src/config/config.ts'
import { fromUnits } from '../../src/config/text.ts'
import { orRefused } from '../support/fuzz.ts'

/** Parts file, environment and command line from each other; none of them can hold it. */
const SEPARATOR = '\0'

/** A configuration file, variables as `NAME=value` lines and arguments, one a line. */
export function fuzz (data: Uint8Array): void {
  const [file = '', variables = '', line] = Buffer.from(data).toString().split(SEPARATOR)
  const env = Object.fromEntries(variables.split('\n').map(text => [text.split('=', 1)[0] ?? '', text.slice(text.indexOf('=') + 1)]))
  const config = orRefused(['RELAY_ERR_CONFIG'], () => combine({ path: 'relay.toml', text: file }, env, {}))
  if (config !== undefined) {
    assert.ok(config.cache.max_bytes >= config.upstream.max_object_bytes)
    assert.deepEqual(combine(undefined, {}, config as unknown as Record<string, unknown>), config)
  }
  orRefused(['RELAY_ERR_CONFIG'], () => parseCommandLine((line ?? '').split('\n')))
  for (const unit of ['size', 'time'] as const) {
    const value = fromUnits(file, unit)
    assert.ok(value === undefined || (Number.isSafeInteger(value) && value >= 0))
  }
}
