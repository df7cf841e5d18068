import { readdirSync, readFileSync } from 'node:fs'
import { RULES } from './borders.ts'
import { table, withParts } from './docs-tables.ts'
import { EXCEPTIONS, ROOMS, type Room } from './rooms.ts'

/** The parts of `docs/architecture.md` that come from the rooms, the borders and the plugins themselves. */
export const ARCHITECTURE = new URL('../docs/architecture.md', import.meta.url)

const PLUGINS = new URL('../src/plugins/', import.meta.url)

const code = (names: readonly string[]): string => names.map(name => `\`${name}\``).join(' ')
const nodeOf = (folder: string): string => folder.replace(/^src\/|\/src$/g, '')

/** What a room imports and does not reach over another of its imports anyway. */
function arrowsOf ({ imports }: Room): string[] {
  const reached = new Set<string>()
  const walk = (folder: string): void => {
    for (const next of ROOMS.find(room => room.folder === folder)?.imports ?? []) {
      reached.add(next)
      walk(next)
    }
  }
  imports.forEach(walk)
  return imports.filter(folder => !reached.has(folder))
}

function picture (): string {
  const processes = [...new Set(ROOMS.map(({ runs }) => runs))]
  const groups = processes.flatMap((runs, n) => [
    `  subgraph p${n}["${runs}"]`,
    ...ROOMS.filter(room => room.runs === runs).map(({ folder }) => `    ${nodeOf(folder)}`),
    '  end'
  ])
  const arrows = ROOMS.flatMap(room => {
    const from = nodeOf(room.folder)
    const { shown = '', imports = [] } = room.except ?? {}
    return [...arrowsOf(room).map(to => `  ${from} --> ${nodeOf(to)}`), ...imports.map(to => `  ${from} -. "${shown}" .-> ${nodeOf(to)}`)]
  })
  return ['```mermaid', 'flowchart TD', ...groups, ...arrows, '```'].join('\n')
}

function rooms (): string {
  return table(['Room', 'Runs in', 'Holds', 'May import'], ROOMS.map(({ folder, runs, holds, imports, besides, except }) => {
    const more = `${besides === undefined ? '' : `, \`${besides.shown}\``}${except === undefined ? '' : `; \`${except.shown}\` also ${code(except.imports.map(nodeOf))}`}`
    return [`\`${folder}/\``, runs, holds, `${imports.length === 0 ? 'nothing' : code(imports.map(nodeOf))}${more}`]
  }))
}

/** The concerns of the relay in the order in which they are named, with the plugins each says it stands on. */
function concerns (): string {
  const rows = readdirSync(PLUGINS, { withFileTypes: true }).filter(entry => entry.isDirectory()).map(({ name }) => name).sort().flatMap(folder => {
    const files = readdirSync(new URL(`${folder}/`, PLUGINS))
    if (!files.includes('index.ts')) return []
    const text = readFileSync(new URL(`${folder}/index.ts`, PLUGINS), 'utf8')
    const [, list = ''] = /name: '[a-z-]+', dependencies: \[([^\]]*)\]/.exec(text) ?? []
    return [[`\`${folder}\``, code([...list.matchAll(/'([^']+)'/g)].map(([, name = '']) => name)), files.includes('routes.ts') ? 'yes' : '']]
  })
  return table(['Concern', 'Stands on', 'Has admin routes'], rows)
}

function borders (): string {
  const kept = EXCEPTIONS.map(({ file, rule, why }) => `- \`${file}\` (${rule}): ${why}`)
  return [...RULES.filter(({ name = '' }) => !name.startsWith('room ')).map(({ comment = '' }) => `- ${comment}`), '', 'Exceptions:', '', ...kept.length === 0 ? ['- none'] : kept].join('\n')
}

/** `text` with every generated part as it is now. @throws Error when a part has no markers */
export function withPlan (text: string): string {
  return withParts('docs/architecture.md', text, { picture, rooms, concerns, borders })
}
