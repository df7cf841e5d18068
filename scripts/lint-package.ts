import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { checkPackage, createPackageFromTarballData } from '@arethetypeswrong/core'
import { publint } from 'publint'
import { formatMessage } from 'publint/utils'

/*
 * Lints what `npm publish` would send of `icn-relay` and of `icn-relay-client`, as they were built last: publint says whether each file that package.json names is there and of its
 * kind, arethetypeswrong whether TypeScript finds the types that belong to the code. Ends with 1 when either finds anything.
 */

const ROOT = fileURLToPath(new URL('../', import.meta.url))

/** Ways of resolving that cannot load ES modules, which is all there is (the profile `esm-only` of attw). */
const NOT_FOR_MODULES: ReadonlySet<unknown> = new Set(['node10', 'node16-cjs'])

/** What is found in the package of that folder; `directory` takes its tarball. */
async function problemsOf (folder: string, directory: string): Promise<string[]> {
  // Without scripts: `prepare` would build once more.
  const { stdout } = await promisify(execFile)('npm', ['pack', '--json', '--ignore-scripts', '--pack-destination', directory], { cwd: folder, maxBuffer: 16 * 1024 * 1024 })
  const [packed] = JSON.parse(stdout) as { filename: string }[]
  const tarball = await readFile(join(directory, packed?.filename ?? ''))
  const bytes = new Uint8Array(tarball)

  const { messages, pkg } = await publint({ strict: true, pack: { tarball: bytes.buffer } })
  const found = messages.map(message => `publint: ${message.type}: ${formatMessage(message, pkg, { color: false }) ?? message.code}`)

  const { types, ...result } = await checkPackage(createPackageFromTarballData(bytes))
  if (types === false) found.push('attw: the package has no types')
  for (const problem of 'problems' in result ? result.problems : []) {
    if (!('resolutionKind' in problem && NOT_FOR_MODULES.has(problem.resolutionKind))) found.push(`attw: ${JSON.stringify(problem)}`)
  }
  return found.map(line => `${packed?.filename}: ${line}`)
}

const directory = await mkdtemp(join(tmpdir(), 'icn-relay-package-'))
try {
  const found = [...await problemsOf(ROOT, directory), ...await problemsOf(join(ROOT, 'client'), directory)]
  for (const line of found) console.error(line)
  console.log(`lint:package: ${found.length} problems in 2 packages`)
  process.exitCode = found.length === 0 ? 0 : 1
} finally {
  await rm(directory, { recursive: true })
}
