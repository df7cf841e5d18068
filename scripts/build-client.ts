import { execFile } from 'node:child_process'
import { rm, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { basename, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { build as bundle, type BuildOptions, type Metafile, type Plugin } from 'esbuild'
import { licences } from './licences.ts'

/*
 * `client/dist`, which is what the package `icn-relay-client` holds: `index.js` for browsers, `node.js` for Node, and beside them what only some viewers load. All
 * that it is made of is inside, from `src` and from other packages. `browser/` is the same for pages without a bundler, minified; `types/` the declarations.
 */

const ROOT = fileURLToPath(new URL('../', import.meta.url))
const CLIENT = join(ROOT, 'client')
const OUT = join(CLIENT, 'dist')
const BUNDLED = join(CLIENT, 'bundled')
/** What the built files use of JavaScript and of browsers. */
const TARGET = ['chrome114', 'firefox115', 'safari17', 'node20.19']

const src = (name: string): string => join(CLIENT, `src/${name}.ts`)
const bundled = (name: string): string => join(BUNDLED, `${name}.js`)

/** Files that are loaded when they are needed, by the name that they have in `dist`. */
const LATER = { answers: src('answers'), sessions: src('sessions'), 'video-parts': src('video-parts'), 'file-parts': src('file-parts'), 'publisher-check': src('publisher-check'), 'browser-erasure': src('browser-erasure'), erasure: bundled('erasure') }
const LATER_IN_NODE = { 'node-quinn': src('node-quinn'), 'engine-file': join(ROOT, 'src/quinn/engine-file.ts'), 'node-http2': bundled('node-http2') }

/** Entries for players, which know nothing of the platform. */
const PLAYERS = { hls: src('hls'), shaka: src('shaka'), dash: src('dash') }

const common = {
  absWorkingDir: ROOT,
  bundle: true,
  format: 'esm',
  target: TARGET,
  platform: 'neutral',
  external: ['node:*'],
  loader: { '.wasm': 'base64' },
  legalComments: 'none',
  logLevel: 'warning',
  metafile: true,
  alias: {
    debug: bundled('debug'),
    'fails-components': fileURLToPath(new URL('.', import.meta.resolve('@fails-components/webtransport')))
  }
} as const satisfies BuildOptions

/** Imports of other files of `dist`: whatever is loaded later, what `core.js` has, and entries that another one stands on. */
function filesOf (core: ReadonlySet<string>, entries: Readonly<Record<string, string>> = {}): Plugin {
  const fileOf = new Map(Object.entries(entries).map(([name, path]) => [path, `./${name}.js`]))
  return {
    name: 'files of dist',
    setup (build) {
      build.onResolve({ filter: /^\./ }, async ({ path, kind, resolveDir, pluginData }) => {
        if (pluginData === 'seen') return undefined
        const name = basename(path).replace(/\.[jt]s$/, '')
        if (kind === 'dynamic-import' || path.endsWith('/bundled/erasure.js')) return { path: `./${name === 'node-erasure' ? 'erasure' : name}.js`, external: true }
        const found = await build.resolve(path, { kind, resolveDir, pluginData: 'seen' })
        const file = core.has(relative(ROOT, found.path)) ? './core.js' : fileOf.get(found.path)
        return file === undefined ? found : { path: file, external: true }
      })
    }
  }
}

/** @param entries besides `core.js`, `websocket.js` and what is loaded later */
async function library (entries: Readonly<Record<string, string>>, outdir: string, minify: boolean): Promise<Metafile['inputs']> {
  const core = await bundle({ ...common, entryPoints: { core: src('core') }, outdir, minify, plugins: [filesOf(new Set())] })
  const [{ inputs = {} } = {}] = Object.values(core.metafile.outputs)
  const inCore = new Set(Object.keys(inputs).filter(path => (inputs[path]?.bytesInOutput ?? 0) > 0))
  const [rest, websocket] = await Promise.all([
    bundle({ ...common, entryPoints: { ...LATER, ...entries }, outdir, minify, plugins: [filesOf(inCore, entries)] }),
    bundle({
      ...common,
      entryPoints: { websocket: bundled('websocket') },
      outdir,
      minify,
      platform: 'browser',
      conditions: ['browser'],
      mainFields: ['browser', 'module', 'main'],
      // It puts a second slash between port and path.
      inject: [bundled('websocket-url')],
      // Where there is a WebTransport, the ponyfill would open a connection to example.com:23333 as it loads, to see whether that takes hashes.
      define: { 'globalThis.WebTransport': 'undefined' }
    })
  ])
  return { ...core.metafile.inputs, ...rest.metafile.inputs, ...websocket.metafile.inputs }
}

await rm(OUT, { recursive: true, force: true })
const [inputs] = await Promise.all([
  library({ index: src('index'), node: src('node'), files: src('files'), 'node-files': src('node-files'), ...PLAYERS, ...LATER_IN_NODE }, OUT, false),
  library({ client: src('index'), files: src('files'), ...PLAYERS }, join(OUT, 'browser'), true),
  promisify(execFile)(process.execPath, [createRequire(import.meta.url).resolve('typescript/bin/tsc'), '-p', relative(process.cwd(), join(CLIENT, 'tsconfig.types.json'))])
])
await writeFile(join(OUT, 'licences.txt'), await licences(inputs, 'icn-relay-client'))
