import assert from 'node:assert/strict'
import { mkdir, readdir, writeFile } from 'node:fs/promises'
import { dirname, join, posix } from 'node:path'
import { suite, test, type TestContext } from 'node:test'
import { fileURLToPath } from 'node:url'
import { crossings, problemsOf, RULES, type BorderError } from '../../scripts/borders.ts'
import { ENTRY, ROOMS } from '../../scripts/rooms.ts'
import { temporaryDirectory } from '../../tools/harness/temporary-directory.ts'

const nameOf = (folder: string): string => folder.replace(/^src\/|\/src$/g, '')
const ROOT = fileURLToPath(new URL('../../', import.meta.url))

/** Crossings among files that are nothing but these imports, `[from, to]`; a name without a slash is a package. */
async function planted (t: TestContext, imports: readonly (readonly [from: string, to: string, statement?: (specifier: string) => string])[]): Promise<BorderError[]> {
  const root = await temporaryDirectory(t)
  const files = new Map<string, string>()
  for (const [from, to, statement = (specifier: string) => `import '${specifier}'`] of imports) {
    const local = to.includes('/') && !to.startsWith('@')
    const relative = posix.relative(posix.dirname(from), to)
    files.set(from, `${files.get(from) ?? ''}${statement(local ? (relative.startsWith('.') ? relative : `./${relative}`) : to)}\n`)
    if (local) files.set(to, files.get(to) ?? '')
  }
  for (const [file, text] of files) {
    await mkdir(dirname(join(root, file)), { recursive: true })
    await writeFile(join(root, file), `${text}export {}\n`)
  }
  return await crossings(root, [...new Set([...files.keys()].map(file => file.split('/')[0] ?? ''))])
}

suite('borders', () => {
  test('nothing in the tree crosses one, and every exception is needed', async () => {
    assert.deepEqual(problemsOf(await crossings(ROOT)), [])
  })

  test('every file of src stands in a room or puts the relay together', async () => {
    const files = await readdir(join(ROOT, 'src'), { recursive: true, withFileTypes: true })
    const names = files.filter(entry => entry.isFile()).map(entry => posix.relative(ROOT, join(entry.parentPath, entry.name)))
    assert.ok(names.length > 200)
    const placed = new RegExp(`^(?:(?:${ROOMS.map(({ folder }) => folder).join('|')})/.+|${ENTRY})$`)
    assert.deepEqual(names.filter(name => !placed.test(name)), [])
  })

  test('of each two rooms, one imports the other where the table says so and is refused where it does not, in both directions', async t => {
    const pairs = ROOMS.flatMap(from => ROOMS.filter(to => to !== from).map(to => ({ from, to, path: `${from.folder}/to-${nameOf(to.folder)}.ts` })))
    const found = await planted(t, pairs.map(({ path, to }) => [path, `${to.folder}/there.ts`]))
    const wanted = pairs.filter(({ from, to }) => !from.imports.includes(to.folder)).map(({ from, to, path }) => ({ rule: `room ${from.folder}`, from: path, to: `${to.folder}/there.ts` }))
    assert.deepEqual(found.toSorted((a, b) => a.from < b.from ? -1 : 1), wanted.toSorted((a, b) => a.from < b.from ? -1 : 1))
    for (const [from, to] of [['plugins', 'gateway'], ['gateway', 'plugins'], ['client', 'gateway'], ['gateway', 'client'], ['client', 'quinn'], ['protocol', 'channel'], ['base', 'protocol']]) {
      assert.ok(wanted.some(error => error.from.endsWith(`/to-${to}.ts`) && nameOf(error.from.slice(0, error.from.lastIndexOf('/'))) === from), `${from} to ${to}`)
    }
  })

  test('an import is one however it is written', async t => {
    const to = 'src/gateway/main.ts'
    const found = await planted(t, [
      ['src/plugins/a/type.ts', to, specifier => `import type { A } from '${specifier}'`],
      ['src/plugins/a/passed-on.ts', to, specifier => `export * from '${specifier}'`],
      ['src/plugins/a/late.ts', to, specifier => `await import('${specifier}')`],
      ['src/plugins/a/inline.ts', to, specifier => `export type A = import('${specifier}').A`]
    ])
    assert.deepEqual(found.map(({ rule, from }) => [rule, from]), ['inline', 'late', 'passed-on', 'type'].map(name => ['room src/plugins', `src/plugins/a/${name}.ts`]))
  })

  const REFUSED: readonly (readonly [rule: string, from: string, to: string])[] = [
    ['rooms', 'src/app.ts', 'src/helpers.ts'],
    ['rooms', 'src/plugins/a/b.ts', 'src/utils/c.ts'],
    ['fastify', 'src/plugins/a/b.ts', 'fastify'],
    ['fastify', 'src/plugins/a/b.ts', '@fastify/cors'],
    ['fastify', 'src/base/b.ts', 'fastify-plugin'],
    ['browsers', 'client/src/index.ts', 'client/src/node.ts'],
    ['room client/src', 'client/src/index.ts', 'src/quinn/session.ts'],
    ['room client/src/node*.ts', 'client/src/node.ts', 'src/gateway/session/response.ts'],
    ['room src/gateway', 'src/gateway/main.ts', 'client/src/index.ts'],
    ['fastify', 'client/src/index.ts', 'fastify'],
    ['sources', 'client/src/index.ts', 'tools/harness/http.ts'],
    ['sources', 'src/base/b.ts', 'test/support/c.ts'],
    ['sources', 'src/app.ts', 'scripts/rooms.ts'],
    ['sources', 'src/plugins/a/index.ts', 'dashboard/src/model/b.ts'],
    ['page', 'dashboard/src/view/a.tsx', 'src/base/b.ts'],
    ['page', 'dashboard/src/model/a.ts', 'client/src/index.ts'],
    ['no test in tools', 'autocannon/a.ts', 'test/support/b.ts'],
    ['no test in tools', 'tools/harness/a.ts', 'test/fakes/b.ts'],
    ['no program in tests', 'test/unit/a.test.ts', 'autocannon/soak/main.ts'],
    ['no program in tests', 'test/unit/a.test.ts', 'compare/main.ts'],
    ['no program in tests', 'test/unit/a.test.ts', 'benchmarks/gateway.ts'],
    ['no program in tests', 'test/unit/a.test.ts', 'autocannon/viewers/viewer-process.ts'],
    ['tool compare', 'compare/a.ts', 'autocannon/b.ts'],
    ['tool benchmarks', 'benchmarks/a.ts', 'compare/b.ts'],
    ['tool autocannon', 'autocannon/a.ts', 'benchmarks/b.ts']
  ]
  for (const [rule, from, to] of REFUSED) {
    test(`${from} may not import ${to}`, async t => {
      assert.ok((await planted(t, [[from, to]])).some(error => error.rule === rule && error.from === from), rule)
    })
  }

  test('those who wire import fastify, clients in Node the engine, tests the parts of tools, the dashboard types', async t => {
    assert.deepEqual(await planted(t, [
      ['src/app.ts', 'fastify'], ['src/plugins/a/index.ts', 'fastify-plugin'], ['src/plugins/a/routes.ts', '@fastify/cors'], ['src/plugins/a/b-routes.ts', 'fastify'], ['src/plugins/http/b.ts', 'fastify'],
      ['client/src/node.ts', 'src/quinn/session.ts'], ['test/unit/a.test.ts', 'autocannon/soak/books.ts'], ['test/unit/a.test.ts', 'tools/harness/http.ts'], ['compare/a.ts', 'tools/harness/http.ts'],
      ['dashboard/src/model/wire.ts', 'src/plugins/a/schemas.ts', specifier => `import type { A } from '${specifier}'`], ['dashboard/src/view/a.tsx', 'preact'],
      ['src/server.ts', 'src/app.ts'], ['src/app.ts', 'src/plugins/a/index.ts']
    ]), [])
  })

  test('a cycle is refused, also one of types', async t => {
    const found = await planted(t, [
      ['src/base/a.ts', 'src/base/b.ts'],
      ['src/base/b.ts', 'src/base/c.ts'],
      ['src/base/c.ts', 'src/base/a.ts', specifier => `import type { A } from '${specifier}'`]
    ])
    assert.ok(found.length > 0)
    assert.deepEqual([...new Set(found.map(({ rule }) => rule))], ['no cycles'])
  })

  test('each has a name of its own', () => {
    assert.equal(new Set(RULES.map(({ name }) => name)).size, RULES.length)
  })
})
