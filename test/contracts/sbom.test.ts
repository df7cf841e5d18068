import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { before, suite, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))

interface Locked { readonly name?: string, readonly version: string, readonly dev?: boolean, readonly link?: boolean, readonly integrity?: string }
interface License { readonly license?: { readonly id?: string, readonly name?: string }, readonly expression?: string }
interface Component { readonly name: string, readonly version: string, readonly licenses?: readonly License[], readonly hashes?: readonly { readonly content: string }[] }
interface Bom { readonly bomFormat: string, readonly metadata: { readonly component: Component }, readonly components: readonly Component[] }

const named = ({ name, version }: { readonly name: string, readonly version: string }): string => `${name}@${version}`
const licensed = ({ licenses = [] }: Component): boolean => licenses.some(({ license, expression }) => (license?.id ?? license?.name ?? expression ?? '') !== '')

suite('npm run sbom', () => {
  let bom: Bom
  let locked: [name: string, entry: Locked][]

  before(async () => {
    // A registry that refuses every connection: what it says comes from the lock file.
    const env = { ...process.env, npm_config_registry: 'http://127.0.0.1:9/', npm_config_offline: 'true' }
    const { stdout } = await promisify(execFile)('npm', ['run', '--silent', 'sbom'], { cwd: ROOT, env, maxBuffer: 16 * 1024 * 1024 })
    bom = JSON.parse(stdout) as Bom
    const { packages } = JSON.parse(await readFile(new URL('../../package-lock.json', import.meta.url), 'utf8')) as { packages: Record<string, Locked> }
    locked = Object.entries(packages).flatMap(([path, entry]) => path === '' || entry.link === true ? [] : [[named({ name: entry.name ?? path.split('node_modules/').at(-1) ?? '', version: entry.version }), entry]])
  })

  test('every production dependency of the lock file is in it, whatever the platform, and nothing else', () => {
    assert.equal(bom.bomFormat, 'CycloneDX')
    assert.equal(bom.metadata.component.name, 'icn-relay')
    const wanted = new Set(locked.filter(([, { dev }]) => dev !== true).map(([name]) => name))
    assert.ok(wanted.size > 80)
    assert.deepEqual(bom.components.map(named).sort(), [...wanted].sort())
  })

  test('each with a version, a licence and the hash of the lock file, which has none of our own client', () => {
    assert.deepEqual(bom.components.filter(component => component.version === '' || !licensed(component)).map(named), [])
    const hashes = new Map(locked.map(([name, { integrity = '' }]) => [name, Buffer.from(integrity.replace(/^sha512-/, ''), 'base64').toString('hex')]))
    for (const component of bom.components) assert.equal(component.hashes?.[0]?.content ?? '', hashes.get(named(component)), named(component))
  })
})
