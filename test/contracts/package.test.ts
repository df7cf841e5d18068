import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { before, suite, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import semver from 'semver'
import { INSIDE_PAGE } from '../../scripts/dashboard-page.ts'
import { INSIDE } from '../../scripts/program.ts'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))

interface Manifest {
  readonly engines: { readonly node: string }
  readonly bin: Record<string, string>
  readonly exports: Record<string, string | Record<string, string>>
}

interface Locked {
  readonly version?: string
  readonly engines?: { readonly node?: string }
}

async function readJson<T> (name: string): Promise<T> {
  return JSON.parse(await readFile(join(ROOT, name), 'utf8')) as T
}

test('every package of the lock file takes the oldest Node that is promised: npm install --engine-strict goes through', async () => {
  const { engines } = await readJson<Manifest>('package.json')
  const oldest = semver.minVersion(engines.node)
  assert.ok(oldest !== null)
  assert.equal(oldest.version, '20.19.0')
  const { packages } = await readJson<{ packages: Record<string, Locked> }>('package-lock.json')
  assert.ok(Object.keys(packages).length > 300)
  const refusing = Object.entries(packages)
    .filter(([, { engines }]) => engines?.node !== undefined && !semver.satisfies(oldest, engines.node))
    .map(([path, { version, engines }]) => `${path}@${version} wants ${engines?.node}`)
  assert.deepEqual(refusing, [])
})

test('light-my-request stays at the last version that takes cookie 1: overrides do not reach those who install the package', async () => {
  const { packages } = await readJson<{ packages: Record<string, Locked & { dependencies?: Record<string, string> }> }>('package-lock.json')
  const wanted = packages['']?.dependencies?.['light-my-request']
  assert.ok(semver.valid(wanted) !== null, `an exact version, not ${wanted}`)
  assert.equal(packages['node_modules/light-my-request']?.version, wanted)
  const paths = Object.keys(packages).filter(path => /(?:^|\/)node_modules\/(?:cookie|light-my-request)$/.test(path))
  assert.deepEqual(paths.sort(), ['node_modules/cookie', 'node_modules/light-my-request'])
})

suite('what npm packs', () => {
  let files: string[]

  before(async () => {
    const { stdout } = await promisify(execFile)('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], { cwd: ROOT, maxBuffer: 16 * 1024 * 1024 })
    const [packed] = JSON.parse(stdout) as { files: { path: string }[] }[]
    files = packed?.files.map(({ path }) => path) ?? []
    assert.ok(files.includes('dist/start.cjs'), 'run `npm run build` first')
  })

  test('whatever package.json names, and what a reader looks for first', async () => {
    const { bin, exports } = await readJson<Manifest>('package.json')
    const named = [...Object.values(bin), ...Object.values(exports).flatMap(entry => typeof entry === 'string' ? [entry] : Object.values(entry))]
    const wanted = [...named.map(path => path.replace(/^\.\//, '')), 'CHANGELOG.md', 'LICENSE', 'README.md', 'SECURITY.md', 'openapi.yaml', 'docs/operations.md', 'demo/player/index.html', 'dist/browser/client.js', 'dist/browser/erasure.js', 'dist/server.js', 'dist/gateway/main.js', 'dist/plugins/repair/erasure-worker.js', 'dist/plugins/p2p/p2p-worker.js', 'dist/dashboard/index.html']
    assert.deepEqual(wanted.filter(path => !files.includes(path)), [])
  })

  test('no source map, none named either, and no sources or tests', async () => {
    assert.deepEqual(files.filter(path => path.endsWith('.map')), [])
    assert.deepEqual(files.filter(path => /(?<!\.d)\.[cm]?ts$/.test(path) || /^(?:src|client|test|scripts|benchmarks|autocannon|compare|node_modules)\//.test(path)), [])
    const code = files.filter(path => /\.(?:[cm]?js|d\.[cm]?ts|css)$/.test(path))
    assert.ok(code.length > 15)
    const naming = await Promise.all(code.map(async path => /^\/[/*]# sourceMappingURL=/m.test(await readFile(join(ROOT, path), 'utf8')) ? path : undefined))
    assert.deepEqual(naming.filter(path => path !== undefined), [])
  })

  test('packages whose code is inside: dependencies of exactly that version, for whoever audits what is installed, with their licences', async () => {
    const { dependencies } = await readJson<{ dependencies: Record<string, string> }>('package.json')
    assert.ok(files.includes('dist/licences.txt'))
    const licences = await readFile(join(ROOT, 'dist/licences.txt'), 'utf8')
    const inside = [...licences.matchAll(/^(\S+) (\d+\.\d+\.\d+) \(.+\)$/gm)].map(([, name = '', version = '']) => [name, version])
    assert.deepEqual(inside, [...INSIDE, ...INSIDE_PAGE].sort().map(name => [name, dependencies[name]]))
    assert.match(licences, /Permission is hereby granted/)
  })
})
