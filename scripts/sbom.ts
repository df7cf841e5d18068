import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

/*
 * Prints what the package depends on, as CycloneDX (`npm run sbom`): what `npm sbom` makes of package-lock.json without the entries that are for development
 * only. Its own `--omit dev` (npm 10 and 11) leaves out whatever a development dependency asks for too, and it takes the name of the folder for that of the package.
 */

const ROOT = fileURLToPath(new URL('../', import.meta.url))

interface Locked { readonly dev?: boolean, readonly devDependencies?: unknown, readonly workspaces?: unknown, readonly link?: boolean, readonly resolved?: string }
interface Manifest extends Locked { readonly name: string, readonly overrides?: unknown }
interface Lock { readonly packages: Readonly<Record<string, Locked>> }

async function readJson<T> (name: string): Promise<T> {
  return JSON.parse(await readFile(join(ROOT, name), 'utf8')) as T
}

const directory = await mkdtemp(join(tmpdir(), 'icn-relay-sbom-'))
try {
  // Overrides may stand on development dependencies, and the lock file has them applied.
  const { devDependencies, overrides, workspaces, ...manifest } = await readJson<Manifest>('package.json')
  const lock = await readJson<Lock>('package-lock.json')
  // Our own client is a package like others for whoever installs the relay.
  const linked = new Map(Object.values(lock.packages).flatMap(({ link, resolved = '' }) => link === true ? [[resolved, lock.packages[resolved]]] : []))
  const packages = Object.fromEntries(Object.entries(lock.packages).flatMap(([path, { devDependencies: _, workspaces: __, ...entry }]) => {
    if (entry.dev === true || linked.has(path)) return []
    return [[path, linked.get(entry.resolved ?? '') ?? entry]]
  }))
  const cwd = join(directory, manifest.name)
  await mkdir(cwd)
  await writeFile(join(cwd, 'package.json'), JSON.stringify(manifest))
  await writeFile(join(cwd, 'package-lock.json'), JSON.stringify({ ...lock, packages }))
  const { stdout } = await promisify(execFile)('npm', ['sbom', '--sbom-format', 'cyclonedx', '--sbom-type', 'application', '--package-lock-only'], { cwd, maxBuffer: 16 * 1024 * 1024 })
  process.stdout.write(stdout)
} finally {
  await rm(directory, { recursive: true, force: true })
}
