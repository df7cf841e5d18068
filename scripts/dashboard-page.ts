import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build, type Metafile } from 'esbuild'

const ROOT = fileURLToPath(new URL('../', import.meta.url))
const SOURCES = join(ROOT, 'dashboard')
/** What the page uses of JavaScript, CSS and browsers. */
const TARGET = ['chrome116', 'firefox124', 'safari17.4']

/** Packages whose code is in the page; package.json names them with exactly their version. */
export const INSIDE_PAGE: readonly string[] = ['preact', 'uplot']

/**
 * Builds the page of the dashboard: `index.html`, and `assets/` with a hash of the contents in each name.
 * @param outdir in which `index.html` will be
 * @returns what it is made of
 */
export async function buildDashboard (outdir: string): Promise<Metafile['inputs']> {
  const { metafile } = await build({
    absWorkingDir: ROOT,
    entryPoints: { app: join(SOURCES, 'src/main.tsx') },
    outdir: join(outdir, 'assets'),
    publicPath: '/assets/',
    tsconfig: join(SOURCES, 'tsconfig.json'),
    bundle: true,
    format: 'esm',
    platform: 'browser',
    target: TARGET,
    minify: true,
    entryNames: '[name]-[hash]',
    assetNames: '[name]-[hash]',
    loader: { '.svg': 'file' },
    legalComments: 'none',
    logLevel: 'warning',
    metafile: true
  })
  const made = Object.keys(metafile.outputs).map(path => `/assets/${basename(path)}`)
  const page = await readFile(join(SOURCES, 'index.html'), 'utf8')
  const filled = page.replace(/\{\{(icon|style|script)\}\}/g, (_all, what: string) => {
    const found = made.find(path => path.endsWith({ icon: '.svg', style: '.css', script: '.js' }[what] ?? ''))
    if (found === undefined) throw new Error(`the page has no ${what}`)
    return found
  })
  await mkdir(outdir, { recursive: true })
  await writeFile(join(outdir, 'index.html'), filled)
  return metafile.inputs
}
