import assert from 'node:assert/strict'
import { createHash, X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { test } from 'node:test'
import { connect, createServer } from 'node:tls'
import fc from 'fast-check'
import { generalName, integer, oid, time } from '../../../../src/plugins/tls/der.ts'
import { certificateHash, coversHosts, createSelfSigned, PINNED_MAX_VALIDITY_MS, VALIDITY_MS } from '../../../../src/plugins/tls/self-signed.ts'

test('a certificate follows the rules for serverCertificateHashes: P-256, valid now, at most 14 days', () => {
  const now = Date.UTC(2026, 10, 23, 12, 0, 0, 789)
  const leaf = new X509Certificate(createSelfSigned([], now).cert)
  const notBefore = Date.parse(leaf.validFrom)
  const notAfter = Date.parse(leaf.validTo)
  assert.equal(leaf.publicKey.asymmetricKeyType, 'ec')
  assert.equal(leaf.publicKey.asymmetricKeyDetails?.namedCurve, 'prime256v1')
  assert.equal(notAfter - notBefore, VALIDITY_MS)
  assert.ok(VALIDITY_MS < PINNED_MAX_VALIDITY_MS)
  assert.ok(notBefore < now && now < notAfter)
  assert.equal(leaf.verify(leaf.publicKey), true)
  assert.equal(leaf.ca, false)
  assert.equal(leaf.keyUsage?.join(), '1.3.6.1.5.5.7.3.1')
})

test('it names loopback and every configured host, each once', () => {
  const leaf = new X509Certificate(createSelfSigned(['relay.example', '127.0.0.1', '192.0.2.7', '2001:db8::a'], Date.now()).cert)
  assert.equal(leaf.subjectAltName, 'DNS:localhost, IP Address:127.0.0.1, IP Address:0:0:0:0:0:0:0:1, DNS:relay.example, IP Address:192.0.2.7, IP Address:2001:DB8:0:0:0:0:0:A')
  assert.ok(coversHosts(leaf, ['relay.example', '192.0.2.7', '2001:db8::a', '::1', 'localhost']))
  assert.ok(!coversHosts(leaf, ['relay.example', 'other.example']))
  assert.ok(!coversHosts(leaf, ['192.0.2.8']))
})

test('two certificates share neither key nor serial number', () => {
  const [first, second] = [createSelfSigned([], 0), createSelfSigned([], 0)].map(({ cert }) => new X509Certificate(cert))
  assert.notEqual(first?.serialNumber, second?.serialNumber)
  assert.notEqual(first?.fingerprint256, second?.fingerprint256)
})

test('the hash is the SHA-256 of the DER form', () => {
  const { cert } = createSelfSigned([], Date.now())
  assert.equal(certificateHash(cert), createHash('sha256').update(new X509Certificate(cert).raw).digest('base64'))
})

test('node:tls serves it and a client that trusts it connects by name and by address', async () => {
  const tls = createSelfSigned([], Date.now())
  const server = createServer(tls, socket => { socket.end('hi') }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  for (const servername of ['localhost', undefined]) {
    const socket = connect({ host: '127.0.0.1', port, ca: tls.cert, ...(servername === undefined ? {} : { servername }) })
    await once(socket, 'secureConnect')
    assert.equal(socket.authorized, true)
    socket.destroy()
  }
  const stranger = connect({ host: '127.0.0.1', port, ca: createSelfSigned([], Date.now()).cert })
  const [error] = await once(stranger, 'error') as [Error & { code: string }]
  assert.match(error.code, /SELF_SIGNED|UNABLE|SIGNATURE/)
  server.close()
})

test('DER forms', () => {
  assert.equal(oid('1.2.840.10045.4.3.2').toString('hex'), '06082a8648ce3d040302')
  assert.equal(oid('2.5.29.17').toString('hex'), '0603551d11')
  assert.equal(integer(Buffer.of(0, 0)).toString('hex'), '020100')
  assert.equal(integer(Buffer.of(0, 0x80)).toString('hex'), '02020080')
  assert.equal(time(Date.UTC(2049, 11, 31, 23, 59, 59)).toString('latin1', 2), '491231235959Z')
  assert.equal(time(Date.UTC(2050, 0, 1)).toString('latin1', 2), '20500101000000Z')
  assert.equal(generalName('::').toString('hex'), `8710${'00'.repeat(16)}`)
  assert.equal(generalName('::ffff:1.2.3.4').toString('hex'), '871000000000000000000000ffff01020304')
})

test('any date and any hosts give a certificate that node:crypto reads back', () => {
  const host = fc.oneof(fc.domain(), fc.ipV4(), fc.ipV6())
  const date = fc.integer({ min: Date.UTC(2000, 0, 1), max: Date.UTC(2120, 0, 1) })
  fc.assert(fc.property(fc.array(host, { maxLength: 20 }), date, (hosts, now) => {
    const leaf = new X509Certificate(createSelfSigned(hosts, now).cert)
    assert.ok(Date.parse(leaf.validFrom) < now && now < Date.parse(leaf.validTo))
    assert.ok(coversHosts(leaf, hosts), `${hosts.join()} not in ${leaf.subjectAltName}`)
    assert.ok(leaf.verify(leaf.publicKey))
  }), { numRuns: 60 })
})
