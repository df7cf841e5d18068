import { askRunning, type AskAdmin } from '../ask-admin.ts'
import { ADMIN, command, JSON_OPTION, jsonText } from '../command.ts'

/** What the relay answers; nothing else of it is printed. */
export interface ReloadAnswer {
  readonly changed: readonly { readonly key: string, readonly before: unknown, readonly after: unknown }[]
  readonly restart: readonly string[]
  readonly overridden: readonly string[]
}

/**
 * Has a running relay read its configuration again.
 * @throws RelayError RELAY_ERR_CONFIG when it is refused, with every line of why
 */
export async function reloadConfig (ask: AskAdmin<ReloadAnswer>): Promise<ReloadAnswer> {
  return await ask('/config/reload', {})
}

/** The lines to print. */
export function reloadText ({ changed, restart, overridden }: ReloadAnswer): string[] {
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
  options: { ...ADMIN, ...JSON_OPTION },
  exits: { 1: 'the configuration is refused, and nothing has changed' },
  take: ({ admin, json }) => ({ admin, json }),
  run: async ({ admin, json }, { settings, write }) => {
    const answer = await reloadConfig(await askRunning('reload', settings(), admin))
    await write(json ? jsonText(answer) : `${reloadText(answer).join('\n')}\n`)
    return 0
  }
})
