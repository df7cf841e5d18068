import { askRunning, type AskAdmin } from '../ask-admin.ts'
import { ADMIN, command } from '../command.ts'

/** What the relay answers; nothing else of it is printed. */
export interface ReloadAnswer {
  readonly changed: readonly { readonly key: string, readonly before: unknown, readonly after: unknown }[]
  readonly restart: readonly string[]
  readonly overridden: readonly string[]
}

/**
 * Has a running relay read its configuration again.
 * @returns the lines to print
 * @throws RelayError RELAY_ERR_CONFIG when it is refused, with every line of why
 */
export async function reloadConfig (ask: AskAdmin<ReloadAnswer>): Promise<string[]> {
  const { changed, restart, overridden } = await ask('/config/reload', {})
  const lines = [
    ...changed.map(({ key, before, after }) => `${key}: ${JSON.stringify(before)} → ${JSON.stringify(after)}`),
    ...overridden.map(key => `${key}: changed, and what was set over the admin API stays in force`),
    ...restart.map(key => `${key}: needs a restart`)
  ]
  return lines.length > 0 ? lines : ['nothing has changed']
}

export const reload = command({
  name: 'reload',
  summary: 'have a running relay read its configuration again, and print what has changed',
  options: ADMIN,
  exits: { 1: 'the configuration is refused, and nothing has changed' },
  take: ({ admin }) => ({ admin }),
  run: async ({ admin }, { settings, write }) => {
    await write(`${(await reloadConfig(await askRunning('reload', settings(), admin))).join('\n')}\n`)
    return 0
  }
})
