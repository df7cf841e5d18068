import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtemp, readdir, readFile, rm, stat, symlink, writeFile, rename, mkdir } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { connect, createServer } from 'node:tls'
import { RelayError } from '../../../../src/base/errors.ts'
import { openCertificateStore, type CertificateStore, type CertificateStoreOptions } from '../../../../src/plugins/tls/certificate-store.ts'
import { certificateHash, createSelfSigned } from '../../../../src/plugins/tls/self-signed.ts'

const DAY = 86_400_000

class Bench {
  now = Date.UTC(2026, 5, 1)
  readonly logs: string[] = []
  directory = ''
  #timer: (() => void) | undefined

  static async create (t: TestContext): Promise<Bench> {
    const bench = new Bench()
    bench.directory = await mkdtemp(join(tmpdir(), 'relay-tls-'))
    t.after(() => rm(bench.directory, { recursive: true, force: true }))
    return bench
  }

  async open (t: TestContext, options: Partial<CertificateStoreOptions> = {}): Promise<CertificateStore> {
    const store = await openCertificateStore({ certFile: '', keyFile: '', directory: this.directory, hosts: [], watchIntervalMs: 20, ...options }, {
      now: () => this.now,
      log: (level, message, fields) => { this.logs.push(`${level}: ${message} ${JSON.stringify(fields ?? {})}`) },
      after: (_ms, callback) => {
        this.#timer = callback
        return () => { this.#timer = undefined }
      }
    })
    t.after(() => store.close())
    return store
  }

  /** Moves the clock and lets the store's own timer fire. */
  async pass (ms: number, store: CertificateStore): Promise<void> {
    this.now += ms
    this.#timer?.()
    await store.reload()
  }

  async writePair (names: [string, string], hosts: string[] = []): Promise<{ certFile: string, keyFile: string, cert: string }> {
    const material = createSelfSigned(hosts, this.now)
    const [certFile, keyFile] = [join(this.directory, names[0]), join(this.directory, names[1])]
    await writeFile(certFile, material.cert)
    await writeFile(keyFile, material.key)
    return { certFile, keyFile, cert: material.cert }
  }
}

const values = (store: CertificateStore): string[] => store.hashes().map(({ value }) => value)

test('self-signed: created, kept with mode 0600, the same after a restart, served by node:tls', async t => {
  const bench = await Bench.create(t)
  bench.now = Date.now()
  const directory = join(bench.directory, 'deep', 'tls')
  const store = await bench.open(t, { directory })
  assert.equal(store.source, 'self-signed')
  assert.deepEqual(store.hashes(), [{ algorithm: 'sha-256', value: certificateHash(store.current().cert) }])
  assert.equal((await stat(join(directory, 'current.pem'))).mode & 0o777, 0o600)
  assert.deepEqual(await readdir(directory), ['current.pem'])

  const again = await bench.open(t, { directory })
  assert.deepEqual(again.current(), store.current())

  const server = createServer(again.current()).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const socket = connect({ port: (server.address() as AddressInfo).port, host: '127.0.0.1', ca: again.current().cert })
  await once(socket, 'secureConnect')
  socket.destroy()
  server.close()
})

test('self-signed: next is created and published before the end, then switched to, with listeners told each time', async t => {
  const bench = await Bench.create(t)
  const store = await bench.open(t)
  const changes: number[] = []
  const stop = store.onChange((material, hashes) => { changes.push(hashes.length); assert.deepEqual(material, store.current()) })
  const [first] = values(store)
  await bench.pass(9 * DAY, store)
  assert.deepEqual(values(store), [first])
  await bench.pass(1 * DAY, store)
  const [still, second] = values(store)
  assert.equal(still, first)
  assert.ok(second !== undefined && second !== first)
  assert.deepEqual(changes, [2])

  const restarted = await bench.open(t)
  assert.deepEqual(values(restarted), [first, second], 'both survive a restart')
  await restarted.close()

  await bench.pass(2 * DAY, store)
  assert.deepEqual(values(store), [second])
  assert.deepEqual(changes, [2, 1])
  stop()
  assert.deepEqual(await readdir(bench.directory), ['current.pem'])
  await writeFile(join(bench.directory, 'next.pem'), await readFile(join(bench.directory, 'current.pem')))
  const crashed = await bench.open(t)
  assert.deepEqual(values(crashed), [second], 'a switch cut short by a crash')
  await crashed.close()
  await bench.pass(40 * DAY, store)
  assert.notDeepEqual(values(store), [second], 'after a long sleep there is a new one')
  assert.deepEqual(changes, [2, 1], 'nobody is told after unsubscribing')
})

test('self-signed: damaged, foreign or mismatched files on disk are replaced, with a warning', async t => {
  const bench = await Bench.create(t)
  const file = join(bench.directory, 'current.pem')
  const good = createSelfSigned([], bench.now)
  const other = createSelfSigned([], bench.now)
  const damaged = ['', 'nonsense', good.cert, good.key, good.key + good.cert.slice(0, 300), other.key + good.cert, Buffer.alloc(5_000, 0xff)]
  for (const content of damaged) {
    await writeFile(file, content)
    bench.logs.length = 0
    const store = await bench.open(t)
    assert.notEqual(store.current().cert, good.cert)
    assert.ok(bench.logs.some(line => line.startsWith('warn: kept certificate is unusable')), String(content).slice(0, 40))
    assert.ok((await readFile(file, 'utf8')).includes(store.current().cert))
  }
  await writeFile(file, good.key + good.cert)
  assert.equal((await bench.open(t)).current().cert, good.cert)
  const forHost = await bench.open(t, { hosts: ['relay.example'] })
  assert.notEqual(forHost.current().cert, good.cert, 'a configured host that is not in the certificate makes a new one')
})

test('self-signed: a directory that cannot be written is a warning, not an outage', async t => {
  const bench = await Bench.create(t)
  await writeFile(join(bench.directory, 'file'), '')
  const store = await bench.open(t, { directory: join(bench.directory, 'file', 'below') })
  assert.equal(store.hashes().length, 1)
  assert.ok(bench.logs.some(line => line.startsWith('warn: certificate could not be kept')))
})

test('configured: loaded, and each mistake has its own message at start', async t => {
  const bench = await Bench.create(t)
  const pair = await bench.writePair(['cert.pem', 'key.pem'])
  const other = await bench.writePair(['other-cert.pem', 'other-key.pem'])
  const junk = join(bench.directory, 'junk')
  await writeFile(junk, 'junk')
  const store = await bench.open(t, pair)
  assert.equal(store.source, 'configured')
  assert.equal(store.current().cert, pair.cert)
  const cases: Array<[Partial<CertificateStoreOptions>, RegExp]> = [
    [{ certFile: pair.certFile }, /both set or both empty/],
    [{ certFile: join(bench.directory, 'none'), keyFile: pair.keyFile }, /tls\.cert file .*none cannot be read \(ENOENT\)/],
    [{ certFile: pair.certFile, keyFile: join(bench.directory, 'none') }, /tls\.key file .*none cannot be read \(ENOENT\)/],
    [{ certFile: junk, keyFile: pair.keyFile }, /certificate .*junk is not a PEM certificate/],
    [{ certFile: pair.certFile, keyFile: junk }, /key .*junk is not a PEM private key/],
    [{ certFile: pair.certFile, keyFile: other.keyFile }, /key .*other-key\.pem does not belong to certificate .*cert\.pem/]
  ]
  for (const [options, message] of cases) {
    await assert.rejects(bench.open(t, options), error => error instanceof RelayError && error.code === 'RELAY_ERR_CONFIG' && message.test(error.message))
  }
})

test('configured: reload takes a new pair, keeps the old one when the new one is bad, and says why', async t => {
  const bench = await Bench.create(t)
  const pair = await bench.writePair(['cert.pem', 'key.pem'])
  const store = await bench.open(t, { ...pair, watchIntervalMs: 3_600_000 })
  const seen: string[] = []
  store.onChange(({ cert }) => { seen.push(cert) })
  await store.reload()
  assert.deepEqual(seen, [], 'nothing changed, nobody is told')

  await writeFile(pair.certFile, createSelfSigned([], bench.now).cert)
  await store.reload()
  assert.equal(store.current().cert, pair.cert)
  assert.ok(bench.logs.some(line => line.startsWith('error: certificate not replaced') && line.includes('does not belong')))

  await rm(pair.keyFile)
  await store.reload()
  assert.equal(store.current().cert, pair.cert)

  const renewed = await bench.writePair(['cert.pem', 'key.pem'])
  await store.reload()
  assert.equal(store.current().cert, renewed.cert)
  assert.deepEqual(seen, [renewed.cert])
})

test('configured: changes on disk are noticed, by overwriting and by a symlink swap', { timeout: 240_000 }, async t => {
  const bench = await Bench.create(t)
  await mkdir(join(bench.directory, 'v1'))
  await mkdir(join(bench.directory, 'v2'))
  const first = await bench.writePair(['v1/cert.pem', 'v1/key.pem'])
  await symlink('v1', join(bench.directory, 'live'))
  const store = await bench.open(t, { certFile: join(bench.directory, 'live/cert.pem'), keyFile: join(bench.directory, 'live/key.pem') })
  assert.equal(store.current().cert, first.cert)
  const until = async (cert: string): Promise<void> => { while (store.current().cert !== cert) await delay(10) }

  const overwritten = await bench.writePair(['v1/cert.pem', 'v1/key.pem'])
  await until(overwritten.cert)

  const swapped = await bench.writePair(['v2/cert.pem', 'v2/key.pem'])
  await symlink('v2', join(bench.directory, 'next'))
  await rename(join(bench.directory, 'next'), join(bench.directory, 'live'))
  await until(swapped.cert)
})

test('configured: hashes are published only for a certificate that browsers accept that way', async t => {
  const bench = await Bench.create(t)
  const pair = await bench.writePair(['cert.pem', 'key.pem'])
  assert.deepEqual(values(await bench.open(t, pair)), [certificateHash(pair.cert)])
})

test('configured: a certificate that is not valid now is used, with a warning', async t => {
  const bench = await Bench.create(t)
  const pair = await bench.writePair(['cert.pem', 'key.pem'])
  bench.now += 100 * DAY
  await bench.open(t, pair)
  assert.ok(bench.logs.some(line => line.startsWith('warn: configured certificate is not valid now')))
})

test('a closed store does not change and tells nobody', async t => {
  const bench = await Bench.create(t)
  const store = await bench.open(t)
  const { cert } = store.current()
  store.onChange(() => { assert.fail('told after close') })
  await store.close()
  await store.close()
  await bench.pass(100 * DAY, store)
  assert.equal(store.current().cert, cert)
})
