import type { Config } from '../../config/schema.ts'
import type { LiveConfig } from './live-config.ts'

/** Sets keys of one section. @throws RelayError as {@link LiveConfig.set} */
export type SetSection = (section: keyof Config, fields: Readonly<Record<string, unknown>>, ifMatch?: string) => Promise<unknown>

/** Sets keys over the admin API, whose fields are called as they are, in its own spelling: `totalBps` for `total_bps`. */
export function setSection (live: LiveConfig): SetSection {
  return async (section, fields, ifMatch) => {
    const given = Object.entries(fields).filter(([, value]) => value !== undefined)
    return await live.set(Object.fromEntries(given.map(([name, value]) => [`${section}.${name.replace(/[A-Z]/g, letter => `_${letter.toLowerCase()}`)}`, value])), ifMatch)
  }
}
