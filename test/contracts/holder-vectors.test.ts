import assert from 'node:assert/strict'
import { createPrivateKey, createPublicKey, sign } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { suite, test } from 'node:test'
import { publisherKeys } from '../../src/plugins/integrity/publisher-signature.ts'
import { sha256 } from '../../src/plugins/integrity/verify-manifest.ts'
import { P2P_PACKAGES } from '../../src/plugins/p2p/load-libp2p.ts'
import { verifyHolderRecord } from '../../src/plugins/p2p/verify-holder-record.ts'
import { HOLDER_FAULTS, holderRecordBytes } from '../../src/protocol/holder-record.ts'

const PKCS8_ED25519 = Buffer.from('302e020100300506032b657004220420', 'hex')
const ISSUED_AT = Date.parse('2026-01-01T00:00:00Z')

type Versions = Readonly<Record<string, string>>

interface Manifest {
  readonly dependencies: Versions
  readonly optionalDependencies: Versions
  readonly peerDependencies: Versions
  readonly peerDependenciesMeta: Readonly<Record<string, { readonly optional?: boolean }>>
}

const text = await readFile(new URL('../../docs/p2p.md', import.meta.url), 'utf8')

function between (start: string, end: string): string {
  const from = text.indexOf(start) + start.length
  assert.ok(from >= start.length, start)
  return text.slice(from, text.indexOf(end, from))
}

suite('holder records as docs/p2p.md has them', () => {
  test('the test vector is what its facts and the key make, and is believed', () => {
    const seed = Buffer.from(Array.from({ length: 32 }, (_, byte) => byte))
    const privateKey = createPrivateKey({ key: Buffer.concat([PKCS8_ED25519, seed]), format: 'der', type: 'pkcs8' })
    const publicKey = Buffer.from(createPublicKey(privateKey).export({ format: 'jwk' }).x ?? '', 'base64url').toString('base64')
    const holders = [{ url: 'https://super-1.example', region: 'NA-WEST' }, { url: 'http://192.0.2.7:9002', region: 'EU-WEST' }]
    const bytes = holderRecordBytes({ cid: 'QmVector', holders, issuedAt: ISSUED_AT, expiresAt: ISSUED_AT + 86_400_000 }, signed => ({ publicKey, value: sign(null, Buffer.from(signed), privateKey).toString('base64') }))
    assert.equal(Buffer.from(bytes).toString(), between('```json\n', '\n```'))
    assert.equal(sha256(bytes).toString('hex'), between('SHA-256 of its bytes: `', '`'))
    const record = verifyHolderRecord(bytes, 'QmVector', { publishers: publisherKeys([publicKey]), maxAgeMs: 86_400_000 }, ISSUED_AT + 1)
    assert.deepEqual(record.holders, holders)
  })

  test('every fault is listed, and no other', () => {
    const rows = between('## What is refused', 'The metric also').split('\n').filter(line => line.startsWith('| `'))
    const listed = rows.flatMap(row => [...(row.split('|')[1] ?? '').matchAll(/`([a-z-]+)`/g)].map(([, fault]) => fault))
    assert.deepEqual(listed.toSorted(), [...HOLDER_FAULTS].toSorted())
  })

  test('what is to be installed is what the program asks for, and package.json has as optional peers', async () => {
    assert.equal(between('npm install ', '\n'), P2P_PACKAGES.join(' '))
    const { peerDependencies, peerDependenciesMeta, dependencies, optionalDependencies } = JSON.parse(await readFile(new URL('../../package.json', import.meta.url), 'utf8')) as Manifest
    for (const wanted of P2P_PACKAGES) {
      const [name, major] = [wanted.slice(0, wanted.lastIndexOf('@')), wanted.slice(wanted.lastIndexOf('@') + 1)]
      assert.match(peerDependencies[name] ?? '', new RegExp(`^\\^${major}\\.`), name)
      assert.deepEqual(peerDependenciesMeta[name], { optional: true })
      assert.equal(dependencies[name] ?? optionalDependencies[name], undefined, `${name} would be installed for everybody`)
    }
  })
})
