import { copyFile, mkdir } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build, type BuildOptions } from 'esbuild'

/*
 * The client library as files a browser loads without a build of its own: `dist/browser/client.js`, and beside it what only some
 * viewers need: the WebSocket transport and the erasure decoder.
 */

const ROOT = fileURLToPath(new URL('../', import.meta.url))
const OUT = join(ROOT, 'dist/browser')
const { resolve } = createRequire(import.meta.url)

await mkdir(OUT, { recursive: true })
const options = {
  outdir: OUT,
  bundle: true,
  format: 'esm',
  platform: 'browser',
  conditions: ['browser'],
  mainFields: ['browser', 'module', 'main'],
  target: ['chrome114', 'firefox115', 'safari17'],
  minify: true,
  legalComments: 'inline',
  logLevel: 'warning'
} satisfies BuildOptions
await build({
  ...options,
  entryPoints: { client: join(ROOT, 'src/client/index.ts'), erasure: join(ROOT, 'scripts/browser/erasure.js') }
})
await build({
  ...options,
  entryPoints: { websocket: join(ROOT, 'scripts/browser/websocket.js') },
  // It puts a second slash between port and path.
  inject: [join(ROOT, 'scripts/browser/websocket-url.js')],
  // Where there is a WebTransport, the ponyfill would open a connection to example.com:23333 as it loads, to see whether that takes hashes.
  define: { 'globalThis.WebTransport': 'undefined' }
})
await copyFile(resolve('@digitaldefiance/reed-solomon-erasure.wasm/wasm'), join(OUT, 'erasure.wasm'))
