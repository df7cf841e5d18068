import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { build, type BuildOptions, type Plugin } from 'esbuild'
import { buildDashboard } from './dashboard-page.ts'
import { licences } from './licences.ts'

/** What Node starts: the program, its gateway, and the threads of the erasure code and of libp2p. Their names are those of their sources; what several share is in `chunks/`. */
const STARTED = ['src/server.ts', 'src/gateway/main.ts', 'src/plugins/repair/erasure-worker.ts', 'src/plugins/p2p/p2p-worker.ts']
/** Packages that go inside, for they are hundreds of files that every start would read; package.json names them with exactly their version. */
export const INSIDE: readonly string[] = ['typebox']

const packages: Plugin = {
  name: 'packages',
  setup (bundler) {
    bundler.onResolve({ filter: /^[^./]/ }, ({ path, kind }) => kind === 'entry-point' || INSIDE.includes(path.split('/')[0] ?? '') ? undefined : { path, external: true })
  }
}

/**
 * Builds the program, and the page of its dashboard. Nothing is renamed and lines stay lines, so that a stack names functions; the source maps beside the files are not named in them
 * and not published, as the sources they speak of are not.
 * @param outdir in which `start.cjs` will be
 */
export async function buildProgram (outdir: string): Promise<void> {
  const common = { absWorkingDir: fileURLToPath(new URL('../', import.meta.url)), outdir, outbase: 'src', bundle: true, platform: 'node', target: 'node20.19', sourcemap: 'external', sourcesContent: false, legalComments: 'none', logLevel: 'warning' } as const satisfies BuildOptions
  const [{ metafile }, , page] = await Promise.all([
    build({ ...common, entryPoints: STARTED, format: 'esm', splitting: true, chunkNames: 'chunks/[hash]', plugins: [packages], metafile: true }),
    build({ ...common, entryPoints: ['src/start.cts'], format: 'cjs', outExtension: { '.js': '.cjs' }, external: ['./server.js'] }),
    buildDashboard(join(outdir, 'dashboard'))
  ])
  await writeFile(join(outdir, 'licences.txt'), await licences({ ...metafile.inputs, ...page }, 'icn-relay'))
}
