import { RelayError } from '../../base/errors.ts'
import { checkConfig } from '../../config/config.ts'
import { mergeLayers, valueAt, type ConfigLayers } from '../../config/layers.ts'
import { configKeys, type Config } from '../../config/schema.ts'
import { nameOf } from './config-view.ts'
import { overridesTree, type Overrides } from './overrides.ts'

/** @throws RelayError RELAY_ERR_CONFIG which names the overrides when it is due to them */
export function withOverrides (layers: ConfigLayers, overrides: Overrides): Config {
  try {
    return checkConfig(mergeLayers(layers))
  } catch (error) {
    if (!(error instanceof RelayError) || overrides.size === 0) throw error
    throw new RelayError('RELAY_ERR_CONFIG', `${error.message}\nset over the admin API: ${[...overrides.keys()].join(', ')}`, { cause: error })
  }
}

function fits (layers: ConfigLayers, overrides: Overrides): boolean {
  try {
    const config = checkConfig(mergeLayers({ ...layers, api: overridesTree(overrides) }))
    return overriddenValues(config, overrides).size === overrides.size
  } catch (error) {
    if (error instanceof RelayError) return false
    throw error
  }
}

/** Those that go with the layers: all, or else each that goes with those before it. */
export function fitting (layers: ConfigLayers, overrides: Overrides): Overrides {
  if (fits(layers, overrides)) return overrides
  const taken = new Map<string, { value: unknown, since: number }>()
  for (const [key, override] of overrides) {
    if (fits(layers, new Map([...taken, [key, override]]))) taken.set(key, override)
  }
  return taken
}

/** Values of the keys that overrides name, as validation has made them. */
export function overriddenValues (config: Config, overrides: Overrides): Map<string, unknown> {
  const keys = configKeys().filter(key => key.live && overrides.has(nameOf(key)))
  return new Map(keys.map(key => [nameOf(key), valueAt(config, key.path)]))
}
