import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { readdir, readFile } from 'node:fs/promises'
import { suite, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import ts from 'typescript'
import { parse } from 'yaml'
import { configTables } from '../../src/config/schema.ts'

const ROOT = new URL('../../', import.meta.url)

const read = async (path: string): Promise<string> => await readFile(new URL(path, ROOT), 'utf8')

async function filesOf (folder: string, extension: RegExp): Promise<string[]> {
  const path = fileURLToPath(new URL(folder, ROOT))
  const entries = existsSync(path) ? await readdir(path, { recursive: true }) : []
  return entries.filter(name => extension.test(name)).map(name => `${folder}/${name.replaceAll('\\', '/')}`)
}

const sources = async (): Promise<string[]> => [...await filesOf('src', /\.c?ts$/), ...await filesOf('client/src', /\.ts$/)]

/** Names of interfaces, types, classes and enums of one file. What a file adds to a module of others is not its own. */
function typeNames (file: string, text: string): string[] {
  const names: string[] = []
  const visit = (node: ts.Node): void => {
    if (ts.isModuleDeclaration(node)) return
    if ((ts.isInterfaceDeclaration(node) || ts.isTypeAliasDeclaration(node) || ts.isClassDeclaration(node) || ts.isEnumDeclaration(node)) && node.name !== undefined) names.push(node.name.text)
    ts.forEachChild(node, visit)
  }
  visit(ts.createSourceFile(file, text, ts.ScriptTarget.Latest))
  return names
}

suite('one vocabulary', () => {
  test('a type name is declared once in src', async () => {
    const places = new Map<string, string[]>()
    for (const file of await sources()) {
      for (const name of typeNames(file, await read(file))) places.set(name, [...places.get(name) ?? [], file])
    }
    assert.ok(places.size > 300)
    assert.deepEqual([...places].filter(([, files]) => files.length > 1), [])
  })

  test('the glossary has at most 30 words, each once, with a meaning', async () => {
    const [, glossary = ''] = (await read('docs/architecture.md')).split('## Glossary')
    const rows = [...glossary.matchAll(/^\| \*\*(.+?)\*\* \| (.+) \|$/gm)].map(([, word = '', meaning = '']) => ({ word, meaning }))
    assert.ok(rows.length > 20 && rows.length <= 30, `${rows.length} words`)
    assert.equal(new Set(rows.map(({ word }) => word)).size, rows.length)
    for (const { word, meaning } of rows) assert.ok(meaning.length > 10, word)
  })

  test('what the field has a word for has no other here, and what happens immediately or at the same time says which', async () => {
    const found: string[] = []
    for (const file of [...await sources(), ...await filesOf('docs', /\.md$/), 'README.md', 'openapi.yaml']) {
      for (const [word] of (await read(file)).matchAll(/\b(?:roads?|doors?|lanes?|desks?|guests?|at\s+once(?! more))\b|\b(?:is|are) no (?:IP address|URL|number)\b/gi)) found.push(`${file}: ${word}`)
    }
    assert.deepEqual(found, [])
  })

  test('fields that change settings over the admin API are named as their configuration keys, and told under the same names', async () => {
    interface Schema { readonly $ref?: string, readonly properties?: Readonly<Record<string, Schema>> }
    interface Operation { readonly requestBody?: { readonly content: Readonly<Record<string, { readonly schema: Schema }>> }, readonly responses: Readonly<Record<string, { readonly content: Readonly<Record<string, { readonly schema: Schema }>> }>> }
    const document = parse(await read('openapi.yaml')) as { readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>, readonly components: { readonly schemas: Readonly<Record<string, Schema>> } }
    const fieldsOf = (schema: Schema | undefined): Readonly<Record<string, Schema>> =>
      schema?.$ref === undefined ? schema?.properties ?? {} : fieldsOf(document.components.schemas[schema.$ref.split('/').at(-1) ?? ''])
    for (const [section, method] of [['cache', 'patch'], ['limits', 'put'], ['bandwidth', 'put']] as const) {
      const keys = configTables().find(({ path }) => path.join('.') === section)?.keys.map(({ path }) => path.at(-1)?.replace(/_(.)/g, (_all, letter: string) => letter.toUpperCase())) ?? []
      const path = document.paths[`/admin/v1/${section}`]
      const changed = Object.keys(fieldsOf(path?.[method]?.requestBody?.content['application/json']?.schema))
      const told = fieldsOf(path?.['get']?.responses['200']?.content['application/json']?.schema)
      const names = [...Object.keys(told), ...Object.keys(fieldsOf(told['limits']))]
      assert.ok(changed.length > 1, section)
      for (const name of changed) assert.ok(keys.includes(name) && names.includes(name), `${section}: ${name}`)
    }
  })
})
