import assert from 'node:assert/strict'
import { readdir, readFile } from 'node:fs/promises'
import { dirname, join, relative, resolve } from 'node:path'
import test from 'node:test'

const UNIT = resolve(import.meta.dirname, '../unit')
const ROOT = resolve(import.meta.dirname, '../..')

/** Folders below the root that a folder of unit tests stands for. */
const roomsOf = (folder: string): string[] => [`src/${folder}/`, `${folder}/`]

/** Files that a text imports, from the root. */
function importsOf (text: string, directory: string): string[] {
  return Array.from(text.matchAll(/(?:from |import\()'(\.[^']+)'/g), ([, to = '']) => relative(ROOT, resolve(directory, to)))
}

test('unit tests stand in the room of what they test: each imports something of it', async () => {
  const files = (await readdir(UNIT, { recursive: true })).filter(file => file.endsWith('.test.ts'))
  assert.ok(files.length > 100)
  const strangers: string[] = []
  for (const file of files) {
    const path = join(UNIT, file)
    const text = await readFile(path, 'utf8')
    const own = importsOf(text, dirname(path))
    // What it tests may come with a rig of the tests.
    const rigs = await Promise.all(own.filter(imported => imported.startsWith('test/support/') && imported.endsWith('.ts')).map(async imported => importsOf(await readFile(join(ROOT, imported), 'utf8'), dirname(join(ROOT, imported)))))
    const imports = [...own, ...rigs.flat()]
    const rooms = roomsOf(dirname(file))
    if (!imports.some(imported => rooms.some(room => imported.startsWith(room)))) strangers.push(file)
  }
  assert.deepEqual(strangers, [])
})
