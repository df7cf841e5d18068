import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm, stat, writeFile, chmod } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { generateKeyPairSync } from 'node:crypto'
import { suite, test } from 'node:test'
import { BoundedDatastore, DATASTORE_BYTES, DATASTORE_ENTRIES } from '../../../../src/plugins/p2p/bounded-datastore.ts'
import { keySeed } from '../../../../src/plugins/p2p/key-file.ts'
import { publicLookup } from '../../../../src/plugins/p2p/public-lookup.ts'

type Key = Parameters<BoundedDatastore['put']>[0]
const key = (name: string): Key => ({ toString: () => name }) as Key

suite('what libp2p remembers', () => {
  test('stays within bytes and entries, whatever is put', () => {
    const store = new BoundedDatastore()
    for (let n = 0; n < DATASTORE_ENTRIES + 100; n++) store.put(key(`/peers/${n}`), new Uint8Array(10))
    assert.equal(store.size, DATASTORE_ENTRIES)
    for (let n = 0; n < 20; n++) store.put(key(`/large/${n}`), new Uint8Array(DATASTORE_BYTES / 8))
    const bytes = [...store.query({})].reduce((sum, { value }) => sum + value.byteLength, 0)
    assert.ok(bytes <= DATASTORE_BYTES, String(bytes))
    store.put(key('/huge'), new Uint8Array(DATASTORE_BYTES + 1))
    assert.equal(store.has(key('/huge')), false)
  })

  test('is found by key, by prefix and in order, and what is not there is told as libp2p wants it', () => {
    const store = new BoundedDatastore()
    const batch = store.batch()
    for (const name of ['/b/1', '/a/2', '/a/1']) batch.put(key(name), Buffer.from(name))
    assert.equal(store.size, 0)
    void batch.commit()
    assert.equal(Buffer.from(store.get(key('/a/2'))).toString(), '/a/2')
    assert.deepEqual([...store.queryKeys({ prefix: '/a', orders: [(a, b) => a.toString() < b.toString() ? -1 : 1] })].map(String), ['/a/1', '/a/2'])
    assert.deepEqual([...store.query({ filters: [({ value }) => value.length > 0], offset: 1, limit: 1 })].length, 1)
    store.delete(key('/a/2'))
    assert.throws(() => store.get(key('/a/2')), { name: 'NotFoundError' })
  })
})

suite('the key behind the peer id', () => {
  test('is made once, for nobody else to read, and is the same afterwards', async t => {
    const directory = await mkdtemp(join(tmpdir(), 'icn-relay-p2p-'))
    t.after(async () => { await rm(directory, { recursive: true }) })
    const file = join(directory, 'key.pem')
    const made: string[] = []
    const seed = await keySeed(file, name => { made.push(name) })
    assert.equal(seed.length, 32)
    assert.equal((await stat(file)).mode & 0o777, 0o600)
    assert.match(await readFile(file, 'utf8'), /^-----BEGIN PRIVATE KEY-----/)
    await chmod(file, 0o644)
    assert.deepEqual(await keySeed(file, name => { made.push(name) }), seed)
    assert.equal((await stat(file)).mode & 0o777, 0o600)
    assert.deepEqual(made, [file])
  })

  test('what is none ends the start with one line, and nothing of it in that', async t => {
    const directory = await mkdtemp(join(tmpdir(), 'icn-relay-p2p-'))
    t.after(async () => { await rm(directory, { recursive: true }) })
    const file = join(directory, 'key.pem')
    const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey.export({ format: 'pem', type: 'pkcs8' }).toString()
    for (const [text, message] of [['secret', /holds no private key$/], [rsa, /that is not Ed25519$/]] as const) {
      await writeFile(file, text)
      await assert.rejects(keySeed(file, () => {}), { code: 'RELAY_ERR_CONFIG', message })
    }
    await assert.rejects(keySeed(join(directory, 'none', 'key.pem'), () => {}), { code: 'RELAY_ERR_CONFIG', message: /ENOENT$/ })
  })
})

suite('host names of holders', () => {
  const through = async (found: string | { address: string, family: number }[]): Promise<unknown> => await new Promise(resolve => {
    publicLookup((_name, _options, done) => { done(null, found, 4) })('h.example', {}, (error, address) => { resolve(error?.code ?? address) })
  })

  test('that have a public address are connected to, and no others', async () => {
    assert.equal(await through('1.1.1.1'), '1.1.1.1')
    assert.equal(await through('127.0.0.1'), 'EPRIVATE')
    assert.equal(await through([{ address: '1.1.1.1', family: 4 }, { address: '10.0.0.1', family: 4 }]), 'EPRIVATE', 'which of them is used nobody knows')
    assert.deepEqual(await through([{ address: '1.1.1.1', family: 4 }]), [{ address: '1.1.1.1', family: 4 }])
  })

  test('an error stays what it is', async () => {
    const error = Object.assign(new Error('no such name'), { code: 'ENOTFOUND' })
    const got = await new Promise(resolve => { publicLookup((_name, _options, done) => { done(error, '') })('h.example', {}, resolve) })
    assert.equal(got, error)
  })
})
