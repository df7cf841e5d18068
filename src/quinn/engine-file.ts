import { createHash, randomBytes } from 'node:crypto'
import { chmodSync, closeSync, existsSync, lstatSync, mkdirSync, openSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { basename, dirname, join } from 'node:path'
import { systemCode } from '../base/errors.ts'
import type { NapiBinding } from './binding.ts'
import { GlibcShimError, glibcVersion, isNewer, withOldGlibc } from './glibc-shim.ts'

/** There is no quinn engine here; the message says why in a sentence. */
export class EngineUnavailableError extends Error {
  override readonly name = 'EngineUnavailableError'
}

/** Platform and architecture as Node names them, and the npm package that has the engine for it. */
const PACKAGES: ReadonlyMap<string, string> = new Map(['linux-x64-gnu', 'linux-arm64-gnu', 'darwin-x64', 'darwin-arm64', 'win32-x64-msvc']
  .map(build => [build.split('-', 2).join('-'), `@moq/web-transport-${build}`]))

/** What the Linux builds were linked against. */
const NEEDED_GLIBC = [2, 38]

/** The builds of which a copy is made for an older glibc, each with the SHA-512 of its file. */
export const PINNED_BUILDS = [
  {
    package: '@moq/web-transport-linux-x64-gnu',
    version: '0.1.4',
    sha512: 'e43bdbbcdc23192dfe1b70fc329f5bebf9228b0e27dbcbccd7ee217746997766d6ff3ed42103f2d04fbc70ad2e3eec66de4b5c2063670ead128d0206a8974f67'
  },
  {
    package: '@moq/web-transport-linux-arm64-gnu',
    version: '0.1.4',
    sha512: 'ff5bdef87e374904b95ba51688aadae36408b166bb5ec2edc653de62891527c90322b0a6d2f0ff30e3ffff5c99ba1fb220cde70c82d570562ab4fb5e944b8bf8'
  }
] as const

/** Where the engine is to run. */
export interface EngineSystem {
  readonly platform: string
  readonly arch: string
  /** `2.36`; undefined without glibc. */
  readonly glibc: () => string | undefined
  /** Path of the package's file; throws as `require.resolve` does. */
  readonly resolve: (name: string) => string
}

export interface EngineFileOptions {
  /** Where a copy for an older glibc is kept; made when it is not there, in a directory that is. */
  readonly directory: string
  /** Whether such a copy may be made. */
  readonly shim: boolean
  readonly log: (level: 'info' | 'warn', message: string, fields?: Record<string, unknown>) => void
  readonly system?: EngineSystem
}

const require = createRequire(import.meta.url)

/** The glibc of this process. */
export function runningGlibc (): string | undefined {
  const { report } = process as { report?: { excludeNetwork?: boolean, getReport: () => object } }
  if (report === undefined) return undefined
  const excluded = report.excludeNetwork
  // Else the report asks DNS for the name of every peer.
  report.excludeNetwork = true
  const { header } = report.getReport() as { header?: { glibcVersionRuntime?: string } }
  if (excluded !== undefined) report.excludeNetwork = excluded
  return header?.glibcVersionRuntime
}

const thisSystem: EngineSystem = { platform: process.platform, arch: process.arch, glibc: runningGlibc, resolve: name => require.resolve(name) }

/**
 * The file to load the engine from: that of the platform's package, or on an older glibc a copy that loads there.
 * @throws EngineUnavailableError
 */
export function engineFile ({ directory, shim, log, system = thisSystem }: EngineFileOptions): string {
  const { platform, arch } = system
  const name = PACKAGES.get(`${platform}-${arch}`)
  if (name === undefined) throw new EngineUnavailableError(`there is no build of the quinn engine for ${platform} on ${arch}`)
  if (platform !== 'linux') return installed(system, name)
  const glibc = system.glibc()
  const running = glibcVersion(glibc ?? '')
  if (glibc === undefined || running === undefined) throw new EngineUnavailableError('the quinn engine is built for glibc, and this system has another C library')
  const path = installed(system, name)
  if (!isNewer(NEEDED_GLIBC, running)) return path
  const needs = `the quinn engine needs glibc ${NEEDED_GLIBC.join('.')} and this system has ${glibc}`
  if (!shim) throw new EngineUnavailableError(`${needs}; transport.glibc_shim = true would make a copy that loads here`)
  const copy = keptCopy(path, name, directory, source => withOldGlibc(source, running), needs)
  log('info', `${needs}: loaded from a copy in which two functions are bound to those of this glibc`, { file: copy })
  return copy
}

/** @throws EngineUnavailableError when the file does not load, or is not an engine */
export function loadEngine (path: string): NapiBinding {
  let binding: Partial<NapiBinding>
  try {
    binding = require(path) as Partial<NapiBinding>
  } catch (error) {
    const hint = String(error).includes('failed to map segment') ? `; is ${dirname(path)} mounted noexec?` : ''
    throw new EngineUnavailableError(`${path} does not load: ${String(error)}${hint}`, { cause: error })
  }
  if (typeof binding.NapiServer?.bind !== 'function' || typeof binding.NapiClient !== 'function') throw new EngineUnavailableError(`${path} is not a build of the quinn engine`)
  return binding as NapiBinding
}

function installed (system: EngineSystem, name: string): string {
  try {
    return system.resolve(name)
  } catch (error) {
    const absent = systemCode(error) === 'MODULE_NOT_FOUND'
    throw new EngineUnavailableError(absent ? `optional package ${name} is not installed` : `optional package ${name} cannot be used: ${String(error)}`, { cause: error })
  }
}

/** A copy as `change` makes it of a pinned build; one that is there is used when it has exactly these bytes. */
function keptCopy (path: string, name: string, directory: string, change: (source: Buffer) => Buffer, needs: string): string {
  let source: Buffer
  try {
    source = readFileSync(path)
  } catch (error) {
    throw new EngineUnavailableError(`${path} cannot be read: ${String(error)}`, { cause: error })
  }
  const sha512 = createHash('sha512').update(source).digest('hex')
  const pinned = PINNED_BUILDS.find(build => build.package === name)
  if (pinned?.sha512 !== sha512) throw new EngineUnavailableError(`${needs}; a copy that loads here is made of ${name} ${pinned?.version} only, which ${path} is not`)
  const copy = join(directory, `${basename(path, '.node')}-${sha512.slice(0, 16)}.node`)
  try {
    const bytes = change(source)
    secureDirectory(directory)
    if (!isIntact(copy, bytes)) write(copy, bytes)
    return copy
  } catch (error) {
    const why = error instanceof GlibcShimError ? `no copy of ${path} would load here: ${error.message}` : `the copy that loads here cannot be kept in ${directory}: ${String(error)}`
    throw new EngineUnavailableError(`${needs}; ${why}`, { cause: error })
  }
}

/** With what is missing above it. Not by `recursive`, which never returns where creating fails with ENOENT, as below /proc. */
function makeDirectory (directory: string): void {
  try {
    mkdirSync(directory, { mode: 0o700 })
  } catch (error) {
    if (systemCode(error) === 'EEXIST') return
    if (systemCode(error) !== 'ENOENT' || existsSync(dirname(directory))) throw error
    makeDirectory(dirname(directory))
    makeDirectory(directory)
  }
}

/** Nobody else may change what is loaded from there. */
function secureDirectory (directory: string): void {
  makeDirectory(directory)
  const found = lstatSync(directory)
  if (!found.isDirectory()) throw new Error('it is not a directory')
  if (found.uid !== process.getuid?.()) throw new Error('it belongs to another user')
  if ((found.mode & 0o077) !== 0) chmodSync(directory, 0o700)
}

function isIntact (copy: string, bytes: Buffer): boolean {
  const found = lstatSync(copy, { throwIfNoEntry: false })
  if (found === undefined || !found.isFile() || found.uid !== process.getuid?.() || (found.mode & 0o077) !== 0 || found.size !== bytes.length) return false
  return readFileSync(copy).equals(bytes)
}

/** Whole or not at all, and nothing of earlier builds stays. What a power cut leaves of it is compared at the next start. */
function write (copy: string, bytes: Buffer): void {
  const unfinished = `${copy}.${randomBytes(8).toString('hex')}.tmp`
  const file = openSync(unfinished, 'wx', 0o600)
  try {
    try {
      writeFileSync(file, bytes)
    } finally {
      closeSync(file)
    }
    renameSync(unfinished, copy)
  } catch (error) {
    rmSync(unfinished, { force: true })
    // Another process that started at the same time may have taken ours for a leftover, after it had written its own.
    if (!isIntact(copy, bytes)) throw error
  }
  const directory = dirname(copy)
  for (const name of readdirSync(directory)) {
    if (name.startsWith('web-transport.') && name !== basename(copy)) rmSync(join(directory, name), { force: true })
  }
}
