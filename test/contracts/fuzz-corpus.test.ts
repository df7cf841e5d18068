import assert from 'node:assert/strict'
import { readdir, readFile } from 'node:fs/promises'
import { suite, test } from 'node:test'

const TARGETS = new URL('../fuzz/', import.meta.url)
const CORPUS = new URL('corpus/', TARGETS)
/** A corpus is for people to read and for a fuzzer to begin with. */
const MAX_BYTES = 64 * 1024

interface Target { readonly fuzz: (data: Uint8Array) => void }

suite('inputs of the fuzzer', async () => {
  const names = (await readdir(TARGETS)).filter(name => name.endsWith('.ts')).map(name => name.slice(0, -'.ts'.length))

  test('every target has seeds, and every folder of seeds a target', async () => {
    assert.ok(names.length > 10)
    assert.deepEqual((await readdir(CORPUS)).sort(), names.toSorted())
  })

  for (const name of names) {
    test(`${name} takes its seeds and what has been found earlier`, async () => {
      const { fuzz } = await import(new URL(`${name}.ts`, TARGETS).href) as Target
      const folder = new URL(`${name}/`, CORPUS)
      const inputs = await readdir(folder)
      assert.ok(inputs.length > 0)
      let bytes = 0
      for (const input of inputs) {
        const data = await readFile(new URL(input, folder))
        bytes += data.length
        assert.doesNotThrow(() => { fuzz(data) }, `test/fuzz/corpus/${name}/${input}`)
      }
      assert.ok(bytes <= MAX_BYTES, `${bytes} bytes`)
      fuzz(new Uint8Array(0))
    })
  }
})
