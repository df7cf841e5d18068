import { once } from 'node:events'
import { systemClock } from '../base/clock.ts'
import { configOf, startLayers, type Config, type ConfigFlags } from '../config/config.ts'
import type { ConfigLayers } from '../config/layers.ts'
import { TABLE } from './command-table.ts'
import type { CommandContext } from './command.ts'

/** Of a terminal that does not say. */
const SIZE = { columns: 80, rows: 24 } as const

/** What commands of this process run in. */
export function commandContext (flags: ConfigFlags): CommandContext {
  let layers: ConfigLayers | undefined
  let settings: Config | undefined
  const context: CommandContext = {
    flags,
    table: TABLE,
    layers: () => (layers ??= startLayers(flags, process.env)),
    settings: () => (settings ??= configOf(context.layers())),
    get input () { return process.stdin },
    get terminal () { return process.stdout.isTTY },
    write: async text => {
      // Whoever read has gone, as `head` does, and there is nobody left to tell.
      if (process.stdout.listenerCount('error') === 0) process.stdout.once('error', () => { process.exit(0) })
      if (!process.stdout.write(text)) await once(process.stdout, 'drain')
    },
    size: () => ({ columns: process.stdout.columns ?? SIZE.columns, rows: process.stdout.rows ?? SIZE.rows }),
    now: systemClock.now
  }
  return context
}
