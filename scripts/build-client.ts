import { execFile } from 'node:child_process'
import { readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { build, type BuildOptions, type Metafile, type Plugin } from 'esbuild'

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

/** What differs from the sources: Node's parts come from `bundled`, and the WebSocket transport is a file of its own, since it needs other options. */
const replaced: Plugin = {
  name: 'bundled',
  setup ({ onResolve }) {
    onResolve({ filter: /\/node-http2\.ts$/ }, () => ({ path: join(BUNDLED, 'node-http2.js') }))
    onResolve({ filter: /\/node-erasure\.ts$/ }, () => ({ path: join(BUNDLED, 'erasure.js') }))
    onResolve({ filter: /\/bundled\/websocket\.js$/ }, () => ({ path: './websocket.js', external: true }))
  }
}

const common = {
  absWorkingDir: ROOT,
  bundle: true,
  format: 'esm',
  target: TARGET,
  legalComments: 'none',
  logLevel: 'warning',
  metafile: true,
  alias: {
    debug: join(BUNDLED, 'debug.js'),
    'fails-components': fileURLToPath(new URL('.', import.meta.resolve('@fails-components/webtransport')))
  }
} as const satisfies BuildOptions

async function library (entries: readonly string[], outdir: string, minify: boolean): Promise<Metafile> {
  const [{ metafile }, websocket] = await Promise.all([
    build({
      ...common,
      entryPoints: Object.fromEntries(entries.map(name => [name, join(CLIENT, `src/${name}.ts`)])),
      outdir,
      minify,
      splitting: true,
      chunkNames: '[name]-[hash]',
      platform: 'neutral',
      external: ['node:*'],
      loader: { '.wasm': 'binary' },
      plugins: [replaced]
    }),
    build({
      ...common,
      entryPoints: { websocket: join(BUNDLED, 'websocket.js') },
      outdir,
      minify,
      platform: 'browser',
      conditions: ['browser'],
      mainFields: ['browser', 'module', 'main'],
      // It puts a second slash between port and path.
      inject: [join(BUNDLED, 'websocket-url.js')],
      // Where there is a WebTransport, the ponyfill would open a connection to example.com:23333 as it loads, to see whether that takes hashes.
      define: { 'globalThis.WebTransport': 'undefined' }
    })
  ])
  return { inputs: { ...metafile.inputs, ...websocket.metafile.inputs }, outputs: {} }
}

/** The licences of the packages whose code is in the files. */
async function licences ({ inputs }: Metafile): Promise<string> {
  const names = new Set(Object.keys(inputs).flatMap(path => /^node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(path)?.[1] ?? []))
  const texts = await Promise.all([...names].sort().map(async name => {
    const folder = join(ROOT, 'node_modules', name)
    const files = (await readdir(folder)).filter(file => /^licen[cs]e/i.test(file))
    const { license, version } = JSON.parse(await readFile(join(folder, 'package.json'), 'utf8')) as { license: string, version: string }
    return [`${name} ${version} (${license})`, ...await Promise.all(files.map(async file => (await readFile(join(folder, file), 'utf8')).trim()))].join('\n\n')
  }))
  return `The files of this folder contain code of these packages.\n\n${texts.join(`\n\n${'-'.repeat(80)}\n\n`)}\n`
}

await rm(OUT, { recursive: true, force: true })
const [inputs] = await Promise.all([
  library(['index', 'node'], OUT, false),
  library(['index'], join(OUT, 'browser'), true),
  promisify(execFile)(process.execPath, [createRequire(import.meta.url).resolve('typescript/bin/tsc'), '-p', relative(process.cwd(), join(CLIENT, 'tsconfig.types.json'))])
])
await writeFile(join(OUT, 'licences.txt'), await licences(inputs))
