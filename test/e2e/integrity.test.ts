import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import { request } from 'undici'
import { connect } from '../../client/src/node.ts'
import { startLiarLab, trialShard, viewersTrial } from '../../tools/harness/liar-trial.ts'
import { makePublisher } from '../../tools/harness/manifests.ts'

interface Report {
  readonly offenders: readonly { readonly node: string, readonly wrong: number }[]
  readonly evidence: readonly { readonly nodes: readonly string[], readonly cid: string, readonly part: number, readonly expected: string, readonly received: string | null, readonly by: string }[]
}

const ADMIN = { admin: { loopback_without_token: true } }
const CIDS = Array.from({ length: 20 }, (_, n) => `QmLied${n}`)

async function reportOf (adminUrl: string): Promise<Report> {
  const { body } = await request(`${adminUrl}/admin/v1/integrity`)
  return await body.json() as Report
}

suite('one of three super-nodes lies and is the fastest', { concurrency: false }, () => {
  for (const digest of [true, false]) {
    for (const signed of [true, false]) {
      test(`${digest ? 'with' : 'without'} repr-digest, ${signed ? 'signed manifests' : 'manifests by quorum'}: no wrong body ends well, every viewer gets the right one, and the liar is listed`, async t => {
        const publisher = signed ? makePublisher() : undefined
        const lab = await startLiarLab(t, { liars: 1, digest, publisher, forger: signed ? makePublisher() : undefined, settings: ADMIN })
        const counts = await viewersTrial(lab, CIDS)
        assert.equal(counts.wrong, 0)
        assert.equal(counts.right, CIDS.length)
        const { offenders, evidence } = await reportOf(lab.adminUrl)
        assert.deepEqual(offenders.map(({ node }) => node), lab.liars.map(({ id }) => id))
        assert.ok(offenders.every(({ wrong }) => wrong > CIDS.length / 2), JSON.stringify(offenders))
        const [piece] = evidence
        assert.ok(piece !== undefined)
        assert.notEqual(piece.received, piece.expected)
        assert.equal(piece.by, signed ? 'publisher' : 'quorum')
      })
    }
  }
})

suite('two of three super-nodes lie alike', { concurrency: false }, () => {
  test('with publishers no wrong body ends well', async t => {
    const lab = await startLiarLab(t, { liars: 2, digest: true, publisher: makePublisher(), forger: makePublisher(), settings: ADMIN })
    const counts = await viewersTrial(lab, CIDS)
    assert.equal(counts.wrong, 0)
    assert.equal(counts.right, CIDS.length)
    assert.ok((await reportOf(lab.adminUrl)).offenders.every(({ node }) => lab.liars.some(({ id }) => id === node)))
  })

  test('without publishers they are the quorum: what they say is believed', async t => {
    const lab = await startLiarLab(t, { liars: 2, digest: true, publisher: undefined, forger: undefined })
    assert.deepEqual(await viewersTrial(lab, CIDS), { right: 0, wrong: CIDS.length, broken: 0 })
  })

  test('a quorum of three asks for all of them, and nothing is stored of what they contradict each other about', async t => {
    const lab = await startLiarLab(t, { liars: 2, digest: true, publisher: undefined, forger: undefined, settings: { trust: { quorum: 3, unverified: 'refuse' } } })
    assert.equal((await viewersTrial(lab, CIDS.slice(0, 3))).wrong, 0)
    assert.equal(lab.relay.admin.shardCache.disk.count, 0)
  })
})

test('over a session no wrong body ends well either', { timeout: 240_000 }, async t => {
  // Without digests, so that the client could not tell by itself.
  const lab = await startLiarLab(t, { liars: 1, digest: false, publisher: makePublisher(), forger: makePublisher(), settings: { transport: { engine: 'fails' } } })
  const client = await connect(lab.viewerUrl)
  t.after(() => { client.close() })
  for (const cid of CIDS.slice(0, 5)) {
    lab.meetStrangers()
    const { bytes, transport } = await client.fetchShard(cid, 3)
    assert.equal(transport, 'websocket')
    assert.deepEqual(Buffer.from(bytes), trialShard(cid))
  }
  assert.ok(lab.relay.admin.integrity.evidence.offenders().some(({ wrong }) => wrong >= 5))
})
