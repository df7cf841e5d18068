import { RelayError } from '../../base/errors.ts'
import { checkConfig, combine, MAX_CONFIG_BYTES } from '../../config/config.ts'
import { mergeLayers, sourceOf, type ValueSource } from '../../config/layers.ts'
import { configKeys } from '../../config/schema.ts'
import { readText } from '../../base/read-text.ts'
import { nameOf, shownValue } from '../../plugins/live-config/config-view.ts'
import { askRunning } from '../ask-admin.ts'
import { ADMIN, command, fail, JSON_OPTION, jsonText, type CommandContext } from '../command.ts'
import { startProblems } from '../start-check.ts'
import { tableText } from '../units.ts'

/** A setting, and where its value comes from. */
export interface Setting {
  readonly value: unknown
  readonly source: ValueSource
}
export type Settings = Readonly<Record<string, Setting>>

interface ConfigRequest {
  /** File that is only checked. */
  readonly check: string | undefined
  readonly running: boolean
  readonly changed: boolean
  readonly json: boolean
  readonly admin: string | undefined
}

/** What a start with this file, environment and command line would have. @throws RelayError RELAY_ERR_CONFIG */
function settingsHere ({ layers }: Pick<CommandContext, 'layers'>): Settings {
  const config = checkConfig(mergeLayers(layers()))
  return Object.fromEntries(configKeys().map(key => [nameOf(key), { value: shownValue(config, key), source: sourceOf(layers(), key.path) }]))
}

/** A line for each setting. */
export function settingsText (settings: Settings): string {
  return tableText(Object.entries(settings).map(([name, { value, source }]) => [source, `${name} = ${JSON.stringify(value)}`]))
}

/** What is wrong with a configuration file, whatever this machine is and whichever files it names. */
export async function fileProblems (path: string): Promise<string[]> {
  const file = await readText(path, MAX_CONFIG_BYTES)
  if ('problem' in file) return [`${path} ${file.problem}`]
  try {
    return startProblems(combine({ path, text: file.text }, {}, {}), Number.POSITIVE_INFINITY)
  } catch (error) {
    if (error instanceof RelayError) return error.message.split('\n')
    throw error
  }
}

export const config = command({
  name: 'config',
  summary: 'print every setting and where its value comes from, or check a configuration file',
  says: 'Without --running it is what a start here would have. "config check FILE" looks at the file alone: not at the environment, this machine or other files, as --validate does.',
  operands: { shown: '[check FILE]', says: 'the file to be checked', choice: ['check'] },
  options: {
    ...ADMIN,
    ...JSON_OPTION,
    running: { says: 'what is in force in the running relay, with what was set over the admin API' },
    changed: { says: 'only what is not at its default' }
  },
  exits: { 1: 'the file is wrong' },
  examples: ['icn-relay config --changed --config relay.toml', 'icn-relay config check relay.toml'],
  take: ({ running, changed, json, admin }, [verb, file, ...more]): ConfigRequest => {
    if (verb !== undefined && (verb !== 'check' || file === undefined || more.length > 0)) fail('config takes nothing, or check and one file')
    if (verb === 'check' && (running || changed || admin !== undefined)) fail('config check takes a file, and --json')
    if (admin !== undefined && !running) fail('--admin belongs to --running here')
    return { check: file, running, changed, json, admin }
  },
  run: async ({ check, running, changed, json, admin }, context) => {
    const { write, settings } = context
    if (check !== undefined) {
      const problems = await fileProblems(check)
      await write(json ? jsonText({ valid: problems.length === 0, problems }) : problems.length === 0 ? `${check} is valid\n` : `${problems.join('\n')}\n`)
      return problems.length === 0 ? 0 : 1
    }
    const all = running ? (await (await askRunning<{ readonly keys: Settings }>('config', settings(), admin, { scope: 'read' }))('/config')).keys : settingsHere(context)
    const shown = Object.fromEntries(Object.entries(all).filter(([, { source }]) => !changed || source !== 'default'))
    await write(json ? jsonText(shown) : settingsText(shown))
    return 0
  }
})
