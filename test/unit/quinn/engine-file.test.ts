import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { chmodSync, chownSync, existsSync, mkdirSync, readFileSync, readdirSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { suite, test, type TestContext } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { engineFile, EngineUnavailableError, loadEngine, PINNED_BUILDS, runningGlibc, type EngineSystem } from '../../../src/quinn/engine-file.ts'
import { glibcVersion, isNewer } from '../../../src/quinn/glibc-shim.ts'
import { temporaryDirectory } from '../../../tools/harness/temporary-directory.ts'
import type { EngineSmoke } from '../../support/engine-smoke.ts'

const run = promisify(execFile)
const ROOT = fileURLToPath(new URL('../../../', import.meta.url))
const [X64] = PINNED_BUILDS
const COPY = 'web-transport.linux-x64-gnu-e43bdbbcdc23192d.node'
const FOLDER_MODE = 0o700
const FILE_MODE = 0o600

function resolved (name: string): string | undefined {
  try {
    return createRequire(import.meta.url).resolve(name)
  } catch {
    return undefined
  }
}

const withoutPackage = (name: string): string | false => resolved(name) === undefined ? `optional package ${name} is not installed` : false

const BOOKWORM: EngineSystem = { platform: 'linux', arch: 'x64', glibc: () => '2.36', resolve: name => createRequire(import.meta.url).resolve(name) }

interface Asked {
  readonly directory?: string
  readonly shim?: boolean
  readonly system?: Partial<EngineSystem>
}

function ask ({ directory = '/nonexistent', shim = true, system = {} }: Asked): { file: string, log: string[] } {
  const log: string[] = []
  const file = engineFile({ directory, shim, log: (level, message) => { log.push(`${level}: ${message}`) }, system: { ...BOOKWORM, ...system } })
  return { file, log }
}

function unavailable (asked: Asked, why: RegExp): void {
  assert.throws(() => ask(asked), error => {
    assert.ok(error instanceof EngineUnavailableError, String(error))
    assert.match(error.message, why)
    return true
  })
}

const modeOf = (path: string): number => statSync(path).mode & 0o777

async function engineDirectory (t: TestContext): Promise<string> {
  return join(await temporaryDirectory(t), 'engine')
}

suite('the package of the platform', () => {
  const installed: Partial<EngineSystem> = { resolve: name => `/node_modules/${name}` }

  test('is chosen by platform and architecture, and loaded as it is where no old glibc stands in the way', () => {
    const builds: [string, string, string][] = [
      ['darwin', 'x64', 'darwin-x64'],
      ['darwin', 'arm64', 'darwin-arm64'],
      ['win32', 'x64', 'win32-x64-msvc']
    ]
    for (const [platform, arch, build] of builds) {
      assert.deepEqual(ask({ system: { ...installed, platform, arch, glibc: () => assert.fail('asked for a glibc') } }), { file: `/node_modules/@moq/web-transport-${build}`, log: [] })
    }
    for (const glibc of ['2.38', '2.41', '3.0']) {
      for (const [arch, build] of [['x64', 'linux-x64-gnu'], ['arm64', 'linux-arm64-gnu']] as const) {
        assert.deepEqual(ask({ shim: false, system: { ...installed, arch, glibc: () => glibc } }), { file: `/node_modules/@moq/web-transport-${build}`, log: [] })
      }
    }
  })

  test('is missing on other platforms, and where the C library is not glibc', () => {
    unavailable({ system: { platform: 'freebsd' } }, /^there is no build of the quinn engine for freebsd on x64$/)
    unavailable({ system: { arch: 'riscv64' } }, /^there is no build of the quinn engine for linux on riscv64$/)
    unavailable({ system: { platform: 'win32', arch: 'arm64' } }, /^there is no build of the quinn engine for win32 on arm64$/)
    unavailable({ system: { glibc: () => undefined } }, /^the quinn engine is built for glibc, and this system has another C library$/)
  })

  test('says so when npm left it out, or it cannot be used', () => {
    const resolve = (): string => createRequire(import.meta.url).resolve('@moq/web-transport-of-nobody')
    unavailable({ system: { resolve } }, /^optional package @moq\/web-transport-linux-x64-gnu is not installed$/)
    const broken = (): string => { throw new Error('its package.json is none') }
    unavailable({ system: { resolve: broken } }, /^optional package @moq\/web-transport-linux-x64-gnu cannot be used: Error: its package\.json is none$/)
  })

  test('is not loaded on an older glibc without leave to make a copy', () => {
    unavailable({ shim: false, system: installed }, /^the quinn engine needs glibc 2\.38 and this system has 2\.36; transport\.glibc_shim = true would make a copy that loads here$/)
  })
})

suite('pinned builds', () => {
  const manifest = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { optionalDependencies: Record<string, string> }
  const lock = JSON.parse(readFileSync(join(ROOT, 'package-lock.json'), 'utf8')) as { packages: Record<string, { version: string }> }

  for (const { package: name, version, sha512 } of PINNED_BUILDS) {
    test(`${name} ${version} is what package.json and package-lock.json name`, () => {
      assert.equal(manifest.optionalDependencies[name], version)
      assert.equal(lock.packages[`node_modules/${name}`]?.version, version)
    })

    test(`${name} ${version} is the file that is installed`, { skip: withoutPackage(name) }, () => {
      assert.equal(createHash('sha512').update(readFileSync(resolved(name) ?? '')).digest('hex'), sha512)
    })
  }
})

suite('a copy for an older glibc', { skip: withoutPackage(X64.package) }, () => {
  const original = resolved(X64.package) ?? ''

  test('is written for nobody else, once, and a line of the log says so', async t => {
    const directory = await engineDirectory(t)
    const { file, log } = ask({ directory })
    assert.equal(file, join(directory, COPY))
    assert.deepEqual(readdirSync(directory), [COPY])
    assert.equal(modeOf(directory), FOLDER_MODE)
    assert.equal(modeOf(file), FILE_MODE)
    assert.deepEqual(log, ['info: the quinn engine needs glibc 2.38 and this system has 2.36: loaded from a copy in which two functions are bound to those of this glibc'])
    const { ino, mtimeMs } = statSync(file)
    assert.equal(ask({ directory }).file, file)
    assert.deepEqual([statSync(file).ino, statSync(file).mtimeMs], [ino, mtimeMs])
  })

  test('is written below directories that do not exist yet, as in the home of a new user', async t => {
    const home = await temporaryDirectory(t)
    const directory = join(home, '.cache', 'icn-relay', 'engine')
    assert.equal(ask({ directory }).file, join(directory, COPY))
    assert.deepEqual([directory, join(directory, '..'), join(home, '.cache')].map(modeOf), [FOLDER_MODE, FOLDER_MODE, FOLDER_MODE])
  })

  test('is written anew when it was changed, cut off, opened to others or replaced by a link', async t => {
    const directory = await engineDirectory(t)
    const { file } = ask({ directory })
    const intact = readFileSync(file)
    const spoilt = Buffer.from(intact)
    spoilt[4_000_000] = (intact[4_000_000] ?? 0) ^ 1
    const harms: (() => void)[] = [
      () => { writeFileSync(file, spoilt) },
      () => { writeFileSync(file, intact.subarray(1)) },
      () => { chmodSync(file, 0o666) },
      () => {
        const elsewhere = join(directory, '..', 'elsewhere.node')
        writeFileSync(elsewhere, intact, { mode: FILE_MODE })
        rmSync(file)
        symlinkSync(elsewhere, file)
      }
    ]
    for (const harm of harms) {
      harm()
      const { ino } = statSync(file)
      assert.equal(ask({ directory }).file, file)
      assert.ok(readFileSync(file).equals(intact))
      assert.notEqual(statSync(file).ino, ino)
      assert.equal(modeOf(file), FILE_MODE)
    }
  })

  test('stays the only one: copies of other builds and unfinished ones go when it is written', async t => {
    const directory = await engineDirectory(t)
    mkdirSync(directory, { mode: 0o755 })
    for (const name of ['web-transport.linux-x64-gnu-0123456789abcdef.node', `${COPY}.0011223344556677.tmp`, 'note.txt']) writeFileSync(join(directory, name), 'old')
    ask({ directory })
    assert.deepEqual(readdirSync(directory).toSorted(), ['note.txt', COPY])
    assert.equal(modeOf(directory), FOLDER_MODE)
  })

  test('is made of the pinned file only', async t => {
    const directory = await engineDirectory(t)
    const other = join(directory, '..', 'web-transport.linux-x64-gnu.node')
    const bytes = readFileSync(original)
    bytes[5_000_000] = (bytes[5_000_000] ?? 0) ^ 1
    writeFileSync(other, bytes)
    unavailable({ directory, system: { resolve: () => other } }, /^the quinn engine needs glibc 2\.38 and this system has 2\.36; a copy that loads here is made of @moq\/web-transport-linux-x64-gnu 0\.1\.4 only, which .+\.node is not$/)
    unavailable({ directory, system: { resolve: () => join(directory, 'none.node') } }, /none\.node cannot be read: Error: ENOENT/)
    assert.ok(!existsSync(directory))
  })

  test('is refused where the glibc lacks more than two functions', async t => {
    const directory = await engineDirectory(t)
    unavailable({ directory, system: { glibc: () => '2.31' } }, /^the quinn engine needs glibc 2\.38 and this system has 2\.31; no copy of .+ would load here: it needs pthread_\w+ of GLIBC_2\.34$/)
    assert.ok(!existsSync(directory))
  })

  test('says where it cannot be kept', async t => {
    const directory = await engineDirectory(t)
    writeFileSync(directory, 'a file')
    unavailable({ directory }, /; the copy that loads here cannot be kept in .+engine: Error: it is not a directory$/)
    const link = join(directory, '..', 'link')
    symlinkSync(await temporaryDirectory(t), link)
    unavailable({ directory: link }, /; the copy that loads here cannot be kept in .+link: Error: it is not a directory$/)
    // The superuser alone can give a directory away.
    if (process.getuid?.() === 0) {
      const foreign = await engineDirectory(t)
      mkdirSync(foreign)
      chownSync(foreign, 65_534, 65_534)
      unavailable({ directory: foreign }, /; the copy that loads here cannot be kept in .+engine: Error: it belongs to another user$/)
    }
    for (const directory of ['/proc/engine', '/proc/none/of/these']) unavailable({ directory }, /; the copy that loads here cannot be kept in \/proc\/[a-z/]+: Error: ENOENT/)
  })
})

suite('loading', () => {
  const name = PINNED_BUILDS.find(({ package: of }) => of.includes(`${process.platform}-${process.arch}-`))?.package ?? X64.package
  const glibc = runningGlibc()
  const isOld = glibc !== undefined && isNewer([2, 38], glibcVersion(glibc) ?? [])

  test('works in processes that start together: a session, a stream echoed, a reset and a close with their codes', { skip: withoutPackage(name) }, async t => {
    const directory = await engineDirectory(t)
    const runs = await Promise.all([1, 2].map(async () => await run(process.execPath, ['--import', 'tsx', join(ROOT, 'test/support/engine-smoke.ts'), directory])))
    const copies = isOld ? readdirSync(directory) : []
    assert.equal(copies.length, isOld ? 1 : 0)
    for (const { stdout } of runs) {
      const seen = JSON.parse(stdout) as EngineSmoke
      assert.equal(seen.glibc, glibc)
      assert.equal(seen.file, isOld ? join(directory, copies[0] ?? '') : resolved(name))
      assert.equal(seen.log.length, isOld ? 1 : 0)
    }
  })

  test('fails with the loader’s words for the unchanged file on an older glibc, and for what is not an engine', { skip: withoutPackage(name) }, async t => {
    const broken = join(await temporaryDirectory(t), 'broken.node')
    writeFileSync(broken, 'broken')
    assert.throws(() => loadEngine(broken), /^EngineUnavailableError: .+broken\.node does not load: Error: .+file too short/)
    assert.throws(() => loadEngine('node:path'), /^EngineUnavailableError: node:path is not a build of the quinn engine$/)
    if (isOld) assert.throws(() => loadEngine(resolved(name) ?? ''), /^EngineUnavailableError: .+ does not load: Error: .+version `GLIBC_2\.38' not found/)
  })
})
