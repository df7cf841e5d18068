import { cruise, type IRegularForbiddenRuleType } from 'dependency-cruiser'
import { ENTRY, EXCEPTIONS, ROOMS, type Room } from './rooms.ts'

/** Folders with TypeScript of ours. */
const FOLDERS = ['src', 'client', 'test', 'demo', 'scripts', 'benchmarks', 'autocannon', 'compare', 'tools', 'dashboard'] as const
/** Those that the two packages are made of. */
const PUBLISHED: readonly string[] = ['src', 'client']
const TOOLS = ['autocannon', 'benchmarks', 'compare'] as const

const FASTIFY = '^(?:node_modules/)?(?:@fastify/|fastify(?:$|[-/]))'
/** Who wires: the application, what each concern shows of itself to it, and the instance that its listeners are. */
const WIRING = ['^src/app\\.ts$', '^src/plugins/[^/]+/(?:index|routes)\\.ts$', '^src/plugins/[^/]+/[^/]+-routes\\.ts$', '^src/plugins/http/']

const within = (folders: readonly string[]): string => `^(?:${folders.join('|')})/`

function roomRules ({ folder, imports, besides, except }: Room): IRegularForbiddenRuleType[] {
  const rule = (name: string, files: string, allowed: readonly string[], notThese?: string): IRegularForbiddenRuleType => ({
    name,
    severity: 'error',
    comment: `${name.replace('room ', '')} imports ${allowed.length === 0 ? 'no other room' : `${[...allowed, ...besides === undefined ? [] : [besides.shown]].join(', ')} only`}`,
    from: { path: files, ...notThese === undefined ? {} : { pathNot: notThese } },
    to: { path: '^(?:src|client/src)/', pathNot: [within([folder, ...allowed]), ...besides === undefined ? [] : [`^${besides.files}$`]] }
  })
  const all = `^${folder}/`
  if (except === undefined) return [rule(`room ${folder}`, all, imports)]
  const some = `${all}${except.files}`
  return [rule(`room ${folder}`, all, imports, some), rule(`room ${folder}/${except.shown}`, some, [...imports, ...except.imports])]
}

/** What the borders forbid, in the words of dependency-cruiser. */
export const RULES: readonly IRegularForbiddenRuleType[] = [
  ...ROOMS.flatMap(roomRules),
  {
    name: 'rooms',
    severity: 'error',
    comment: 'every file of src stands in a room',
    from: {},
    to: { path: '^(?:src|client/src)/', pathNot: [within(ROOMS.map(({ folder }) => folder)), `^${ENTRY}$`] }
  },
  {
    name: 'keys',
    severity: 'error',
    comment: 'config.ts of a concern is its keys, made of what src/config/parts.ts has',
    from: { path: '^src/plugins/[^/]+/config\\.ts$' },
    to: { path: '^(?:src|client/src)/', pathNot: '^src/config/parts\\.ts$' }
  },
  {
    name: 'browsers',
    severity: 'error',
    comment: 'what browsers load of client/src is not what only Node loads of it',
    from: { path: '^client/src/', pathNot: '^client/src/node[^/]*\\.ts$' },
    to: { path: '^client/src/node[^/]*\\.ts$' }
  },
  {
    name: 'fastify',
    severity: 'error',
    comment: 'index.ts and routes.ts of a concern, src/app.ts and src/plugins/http import fastify; nothing else does',
    from: { path: '^(?:src|client)/', pathNot: WIRING },
    to: { path: FASTIFY }
  },
  {
    name: 'sources',
    severity: 'error',
    comment: 'src and client import nothing that is not published',
    from: { path: within(PUBLISHED) },
    to: { path: within(FOLDERS.filter(folder => !PUBLISHED.includes(folder))) }
  },
  {
    name: 'page',
    severity: 'error',
    comment: 'the dashboard takes types from src, and nothing else',
    from: { path: '^dashboard/' },
    to: { path: within(PUBLISHED), dependencyTypesNot: ['type-only'] }
  },
  {
    name: 'no test in tools',
    severity: 'error',
    comment: 'tools stand on tools/harness and not on tests',
    from: { path: within(FOLDERS.filter(folder => !PUBLISHED.includes(folder) && folder !== 'test')) },
    to: { path: '^test/' }
  },
  {
    name: 'no program in tests',
    severity: 'error',
    comment: 'tests import the parts of tools, and start their programs as processes',
    from: { path: '^(?:test|tools/harness)/' },
    to: { path: ['^benchmarks/', '^(?:autocannon|compare|demo)/.*-process\\.ts$', '^(?:autocannon|compare|demo)/(?:.*/|)main\\.ts$'] }
  },
  ...TOOLS.map((tool): IRegularForbiddenRuleType => ({
    name: `tool ${tool}`,
    severity: 'error',
    comment: `what ${tool} shares with other tools is in tools/harness`,
    from: { path: within([tool, 'tools/harness']) },
    to: { path: within(TOOLS), pathNot: `^${tool}/` }
  })),
  {
    name: 'no cycles',
    severity: 'error',
    comment: 'no file imports itself through others',
    from: {},
    to: { circular: true }
  }
]

export interface BorderError {
  /** Name in {@link RULES}. */
  readonly rule: string
  readonly from: string
  readonly to: string
}

/**
 * Imports that cross a border, those of types too, in the order of their files; exceptions count as well.
 * @param folders of `root` to look into; those that are ours by default
 */
export async function crossings (root: string, folders: readonly string[] = FOLDERS): Promise<BorderError[]> {
  const { output } = await cruise([...folders], {
    baseDir: root,
    validate: true,
    ruleSet: { forbidden: [...RULES] },
    tsPreCompilationDeps: true,
    doNotFollow: { path: 'node_modules' },
    exclude: { path: '^(?:demo/player|client/dist)/' }
  }, { extensions: ['.ts', '.tsx', '.cts', '.js', '.mjs'] })
  if (typeof output === 'string') throw new Error(output)
  return output.summary.violations.map(({ rule, from, to }) => ({ rule: rule.name, from, to }))
    .sort((a, b) => a.from.localeCompare(b.from) || a.to.localeCompare(b.to) || a.rule.localeCompare(b.rule))
}

/** Sentences: what crosses a border and is not an exception, and the exceptions that nothing needs any more. */
export function problemsOf (found: readonly BorderError[]): string[] {
  const isExcepted = ({ rule, from }: BorderError): boolean => EXCEPTIONS.some(exception => exception.rule === rule && exception.file === from)
  const unused = EXCEPTIONS.filter(({ rule, file }) => !found.some(error => error.rule === rule && error.from === file))
  return [
    ...found.filter(error => !isExcepted(error)).map(({ rule, from, to }) => `${from} imports ${to}: ${RULES.find(({ name }) => name === rule)?.comment ?? rule}`),
    ...unused.map(({ rule, file }) => `${file} keeps to the rule "${rule}" and needs no exception`)
  ]
}
