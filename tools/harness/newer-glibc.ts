import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, readdir, rename, rm, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { runningGlibc } from '../../src/quinn/engine-file.ts'
import { glibcVersion, isNewer } from '../../src/quinn/glibc-shim.ts'

const run = promisify(execFile)

/** Debian 13 has glibc 2.41. */
const RELEASE = 'trixie'
/** The loader and libraries of C, and what Node and the engine need besides. */
const PACKAGES = ['libc6', 'libgcc-s1', 'libstdc++6']
const KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg'
const FOLDER = resolve('node_modules/.cache/icn-relay', `glibc-${RELEASE}`)
const TIMEOUT_MS = 120_000

/** Where Debian puts the libraries of an architecture, and what its loader is called. */
const LAYOUTS: Readonly<Record<string, { libraries: string, loader: string }>> = {
  x64: { libraries: 'usr/lib/x86_64-linux-gnu', loader: 'ld-linux-x86-64.so.2' },
  arm64: { libraries: 'usr/lib/aarch64-linux-gnu', loader: 'ld-linux-aarch64.so.1' }
}

/** The oldest glibc that loads the engine's file unchanged. */
const UNCHANGED_FROM = [2, 38]

/** What starts Node with a glibc of 2.38 or later, or why that cannot be had. */
export type NewerGlibc = { readonly command: readonly string[] } | { readonly without: string }

/** Node with the glibc of Debian 13, unpacked into a folder once, where that of the system is older. In CI, what fails on the way there is an error. */
export async function newerGlibc (): Promise<NewerGlibc> {
  const layout = LAYOUTS[process.arch]
  const running = glibcVersion(runningGlibc() ?? '')
  if (process.platform !== 'linux' || running === undefined || layout === undefined) return { without: 'engine limit: its build for this platform does not stand on glibc' }
  if (!isNewer(UNCHANGED_FROM, running)) return { command: [process.execPath] }
  if (!existsSync('/usr/bin/apt-get') || !existsSync(KEYRING)) return { without: 'engine limit: this glibc is too old for its unchanged build, and there are no packages of Debian to take a newer one from' }
  const libraries = join(FOLDER, layout.libraries)
  try {
    if (!existsSync(FOLDER)) await unpack()
  } catch (error) {
    if (process.env['CI'] !== undefined) throw error
    return { without: `no glibc of Debian ${RELEASE}: ${String(error)}` }
  }
  return { command: [join(libraries, layout.loader), '--library-path', libraries, process.execPath] }
}

/** The archive the system itself has its packages from. */
async function archive (): Promise<string> {
  const { stdout } = await run('apt-get', ['indextargets', '--format', '$(LABEL) $(REPO_URI)', 'Origin: Debian', 'Created-By: Packages'])
  const line = stdout.split('\n').find(text => text.startsWith('Debian '))
  if (line === undefined) throw new Error('apt knows no archive of Debian (apt-get update)')
  return line.slice('Debian '.length)
}

/** With lists and caches of its own, so that the system's apt is left as it is. */
async function unpack (): Promise<void> {
  await mkdir(join(FOLDER, '..'), { recursive: true })
  const directory = await mkdtemp(`${FOLDER}-`)
  try {
    const inside = (name: string): string => join(directory, name)
    for (const name of ['lists/partial', 'archives/partial', 'packages']) await mkdir(inside(name), { recursive: true })
    await writeFile(inside('status'), '')
    await writeFile(inside('sources.list'), `deb [signed-by=${KEYRING}] ${await archive()} ${RELEASE} main\n`)
    await writeFile(inside('apt.conf'), [
      `Dir::Etc::SourceList "${inside('sources.list')}";`,
      'Dir::Etc::SourceParts "-";',
      'Dir::Etc::Preferences "-";',
      'Dir::Etc::PreferencesParts "-";',
      `Dir::State "${directory}";`,
      `Dir::State::status "${inside('status')}";`,
      `Dir::Cache "${directory}";`,
      'APT::Sandbox::User "";',
      'Acquire::Languages "none";',
      ''
    ].join('\n'))
    const options = { cwd: inside('packages'), env: { ...process.env, APT_CONFIG: inside('apt.conf') }, timeout: TIMEOUT_MS }
    await run('apt-get', ['update', '--error-on=any', '-qq'], options)
    await run('apt-get', ['download', '-qq', ...PACKAGES], options)
    for (const name of await readdir(inside('packages'))) await run('dpkg-deb', ['-x', join(inside('packages'), name), inside('root')])
    await rename(inside('root'), FOLDER)
  } finally {
    await rm(directory, { recursive: true, force: true })
  }
}
