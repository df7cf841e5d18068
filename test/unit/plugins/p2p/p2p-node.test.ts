import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { multiaddr, type Multiaddr } from '@multiformats/multiaddr'
import { DEMO_PUBLIC_KEY, signText } from '../../../../demo/super-node/manifest.ts'
import { publisherKeys } from '../../../../src/plugins/integrity/publisher-signature.ts'
import type { Libp2pModules } from '../../../../src/plugins/p2p/load-libp2p.ts'
import { P2pNode } from '../../../../src/plugins/p2p/p2p-node.ts'
import { verifyHolderRecord } from '../../../../src/plugins/p2p/verify-holder-record.ts'
import { holderRecordBytes } from '../../../../src/protocol/holder-record.ts'

const NOW = 1_700_000_000_000
const NEVER = new AbortController().signal
const BOOTSTRAP = '/dns4/super-1.example/tcp/9005/p2p/12D3KooWEaeXpruQKfrL6SHxzcbeUWjv9ycy7oXwn9etYq9hfMy2'

interface DhtInit {
  readonly clientMode: boolean
  readonly validators: Record<string, (key: Uint8Array, value: Uint8Array) => Promise<void>>
  readonly selectors: Record<string, (key: Uint8Array, records: Uint8Array[]) => number>
}

interface NodeInit { readonly connectionGater: { denyDialMultiaddr (address: Multiaddr): boolean } }

const record = (cid: string, issuedAt = NOW): Uint8Array => holderRecordBytes({ cid, holders: [{ url: 'http://h.example', region: 'APAC' }], issuedAt }, signText)
const keyOf = (cid: string): Uint8Array => Buffer.from(`/icn/${cid}`)

/** A node on a libp2p that says what the test wants. @param values keys and values that peers answer with */
async function setup ({ values = [], allowPrivate = false }: { values?: readonly (readonly [key: string, value: Uint8Array])[], allowPrivate?: boolean } = {}) {
  const refused: string[] = []
  const given: { dht?: DhtInit, node?: NodeInit } = {}
  const service = (): undefined => undefined
  const modules = {
    createLibp2p: async (init: NodeInit) => {
      given.node = init
      return {
        services: {
          dht: {
            async * get () {
              yield { name: 'DIAL_PEER' }
              for (const [key, value] of values) yield { name: 'PEER_RESPONSE', record: { key: Buffer.from(key), value } }
            }
          }
        }
      }
    },
    tcp: service,
    noise: service,
    yamux: service,
    identify: service,
    ping: service,
    kadDHT: (init: DhtInit) => { given.dht = init },
    privateKeyFromRaw: (raw: Uint8Array) => { assert.equal(raw.length, 64) },
    multiaddr
  } as unknown as Libp2pModules
  const policy = { publishers: publisherKeys([DEMO_PUBLIC_KEY]), maxAgeMs: 60_000 }
  const node = await P2pNode.start(modules, {
    seed: new Uint8Array(32),
    listen: [],
    announce: [],
    bootstrap: [BOOTSTRAP],
    protocol: '/icn/kad/1.0.0',
    maxConnections: 4,
    allowPrivate,
    publishers: [DEMO_PUBLIC_KEY],
    maxAgeMs: 60_000,
    version: '0',
    verify: (bytes, cid) => verifyHolderRecord(bytes, cid, policy, NOW),
    refused: (cid, fault) => { refused.push(`${cid} ${fault}`) }
  })
  const { dht, node: init } = given
  assert.ok(dht !== undefined && init !== undefined)
  return { node, refused, dht, mayDial: (address: string) => !init.connectionGater.denyDialMultiaddr(multiaddr(address)) }
}

suite('a peer that asks the DHT', () => {
  test('keeps nothing for others, and believes of their records what is signed, under its own key', async () => {
    const { dht, refused } = await setup()
    assert.equal(dht.clientMode, true)
    const { icn: validate } = dht.validators
    assert.ok(validate !== undefined)
    await validate(keyOf('QmA'), record('QmA'))
    await assert.rejects(validate(keyOf('QmA'), record('QmB')), { fault: 'cid' })
    await assert.rejects(validate(keyOf('QmA'), Buffer.from('garbage')), { fault: 'syntax' })
    await assert.rejects(validate(Buffer.from('/icn/a/b'), record('QmA')), { fault: 'cid' })
    assert.deepEqual(refused, ['QmA cid', 'QmA syntax', ' cid'])
    assert.equal(dht.selectors['icn']?.(keyOf('QmA'), [Buffer.from('garbage'), record('QmA', NOW - 10), record('QmA'), record('QmB')]), 2)
  })

  test('takes a record for what it was asked for only when it is of that CID, whatever key a peer sends it under', async () => {
    const { node, refused } = await setup({ values: [['/icn/QmOther', record('QmOther')], ['x', Buffer.from('no validator sees this key')], ['/icn/QmA', record('QmA')]] })
    const got = []
    for await (const { cid } of node.records('QmA', NEVER)) got.push(cid)
    assert.deepEqual(got, ['QmA'])
    assert.deepEqual(refused, ['QmA cid', 'QmA syntax'])
  })

  test('dials public addresses, and bootstrap peers by name; with private addresses allowed, anything', async () => {
    const addresses = ['/ip4/1.1.1.1/tcp/1', '/ip6/2606:4700::1111/tcp/1', BOOTSTRAP, '/ip4/10.0.0.1/tcp/1', '/ip4/127.0.0.1/tcp/1', '/ip6/::1/tcp/1', '/dns4/h.example/tcp/1', '/dns4/localhost/tcp/1', '/ip4/1.1.1.1/udp/1']
    const { mayDial } = await setup()
    assert.deepEqual(addresses.filter(mayDial), addresses.slice(0, 3))
    const { mayDial: mayDialAll } = await setup({ allowPrivate: true })
    assert.deepEqual(addresses.filter(mayDialAll), addresses)
  })
})
