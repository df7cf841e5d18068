import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import fc from 'fast-check'
import { deferred } from '../../../../src/base/deferred.ts'
import { EvidenceBook, EVIDENCE_PER_NODE, MAX_OFFENDERS, type Evidence } from '../../../../src/plugins/integrity/evidence.ts'
import { ManifestStore, MAX_CLAIMS, MAX_MANIFESTS, MAX_QUESTIONS, MAX_UNSURE, OWN_NODE, UNSURE_MS, type BelievedText, type ManifestStoreOptions } from '../../../../src/plugins/integrity/manifest-store.ts'
import { judgeClaims, type Claim } from '../../../../src/plugins/integrity/manifest-trust.ts'
import { MAX_QUARANTINED, Quarantine } from '../../../../src/plugins/integrity/quarantine.ts'
import { publisherKey, sha256 } from '../../../../src/plugins/integrity/verify-manifest.ts'
import type { Lifetime } from '../../../../src/protocol/freshness.ts'
import { parseManifest } from '../../../../src/protocol/manifest.ts'
import type { AskEachOptions } from '../../../../src/plugins/upstream/each-node.ts'
import { makePublisher, manifestBody, manifestText, signedBody, videoShards } from '../../../../tools/harness/manifests.ts'
import { virtualTimers, type VirtualTimers } from '../../../fakes/timers.ts'
import { until } from '../../../support/cache.ts'

const CID = 'QmVideo'
/** Wall clock at the start, ms since the epoch. */
const WALL = 1_700_000_000_000
const PUBLISHER = makePublisher()
const TRUE_BODY = manifestBody(CID, videoShards(CID, 100))
const LIE_BODY = manifestBody(CID, videoShards(CID, 100, ' lie'))
const { manifest: MANIFEST } = parseManifest(manifestText(TRUE_BODY), CID, 100_000)

function claim (node: string, witness: string, digest: string, more: Partial<Claim> = {}): Claim {
  return { node, witness, digest, size: 1, manifest: MANIFEST, blocks: undefined, publisher: undefined, ...more }
}

interface Lab {
  readonly store: ManifestStore
  readonly timers: VirtualTimers
  readonly asked: { readonly cid: string, readonly options: AskEachOptions }[]
  readonly told: string[]
  /** What was to be kept, with who vouched for it. */
  readonly texts: BelievedText[]
}

/** @param ask what the super-nodes do; they answer nothing by default */
function setUp (ask: ManifestStoreOptions['ask'] = async () => {}, { signed = false, quorum = 2, kept = async () => undefined, vouched = () => [], lifetime }: { signed?: boolean, quorum?: number, lifetime?: Lifetime } & Partial<Pick<ManifestStoreOptions, 'kept' | 'vouched'>> = {}): Lab {
  const timers = virtualTimers()
  const asked: { cid: string, options: AskEachOptions }[] = []
  const told: string[] = []
  const texts: BelievedText[] = []
  const key = publisherKey(PUBLISHER.key)
  assert.ok(key !== undefined)
  const store = new ManifestStore({
    ask: async (cid, options) => {
      asked.push({ cid, options })
      await ask(cid, options)
    },
    kept,
    vouched,
    keep: (_cid, text) => { texts.push(text) },
    policy: { maxBytes: 100_000, maxAgeMs: 0, publishers: new Map(signed ? [[PUBLISHER.key, key]] : []) },
    quorum,
    timeoutMs: 3_000,
    lifetimeOf: () => lifetime,
    clock: { now: () => WALL + timers.now(), monotonic: () => timers.now() },
    timers,
    observer: { found: (cid, outcome) => { told.push(`${cid} ${outcome}`) }, refused: (node, _cid, fault) => { told.push(`${node} ${fault}`) } },
    believed: (cid, { node }) => { told.push(`${cid} from ${node}`) }
  })
  return { store, timers, asked, told, texts }
}

suite('what the claims of nodes come to', () => {
  test('a publisher decides, whatever all others say; of two manifests the newer one', () => {
    const others = [claim('a', 'R1', 'x'), claim('b', 'R2', 'x'), claim('c', 'R3', 'x')]
    const old = claim('d', 'R1', 'y', { publisher: 'k', manifest: { ...MANIFEST, createdAt: 1 } })
    const young = claim('e', 'R1', 'z', { publisher: 'k', manifest: { ...MANIFEST, createdAt: 2 } })
    assert.deepEqual(judgeClaims([...others, old, young], 2), { state: 'believed', claim: young, by: 'publisher' })
    assert.deepEqual(judgeClaims([old, ...others], 2), { state: 'believed', claim: old, by: 'publisher' })
  })

  test('claims of one witness count once', () => {
    assert.equal(judgeClaims([claim('a', 'R1', 'x'), claim('b', 'R1', 'x')], 2).state, 'unsure')
    assert.equal(judgeClaims([claim('a', 'R1', 'x'), claim('b', 'R2', 'x')], 2).state, 'believed')
    assert.equal(judgeClaims([claim('a', 'R1', 'x'), claim('b', 'R2', 'y')], 2).state, 'conflict')
    assert.equal(judgeClaims([claim('a', 'R1', 'x')], 1).state, 'believed')
    assert.equal(judgeClaims([], 1).state, 'unsure')
  })

  test('without publishers nothing is believed of which fewer witnesses than the quorum speak', () => {
    const claims = fc.array(fc.record({ node: fc.constantFrom('a', 'b', 'c', 'd'), region: fc.constantFrom('R1', 'R2', 'R3'), digest: fc.constantFrom('x', 'y', 'z') }).map(({ node, region, digest }) => claim(node, region, digest)), { maxLength: 8 })
    fc.assert(fc.property(claims, fc.integer({ min: 1, max: 4 }), (some, quorum) => {
      const belief = judgeClaims(some, quorum)
      const witnesses = (digest: string): number => new Set(some.filter(one => one.digest === digest).map(({ witness }) => witness)).size
      if (belief.state === 'believed') assert.ok(witnesses(belief.claim.digest) >= quorum)
      else assert.ok(some.every(({ digest }) => witnesses(digest) < quorum))
      assert.equal(belief.state === 'conflict', belief.state !== 'believed' && new Set(some.map(({ digest }) => digest)).size > 1)
    }))
  })
})

suite('the store of manifests', () => {
  const answerOf = (node: string, witness: string, body: Record<string, unknown>) => ({ node, witness, bytes: manifestText(body) })

  test('asks once for a CID, whoever waits, and keeps what is believed', async () => {
    const answers = deferred<undefined>()
    const lab = setUp(async (_cid, { take }) => {
      await answers.promise
      assert.equal(take(answerOf('a', 'R1', TRUE_BODY)), false)
      assert.equal(take(answerOf('b', 'R2', TRUE_BODY)), true)
    })
    const waiting = Array.from({ length: 50 }, async () => await lab.store.find(CID, ['1.1 other']))
    assert.equal(lab.store.asking, 1)
    assert.equal(lab.store.known(CID), undefined)
    answers.resolve(undefined)
    const findings = await Promise.all(waiting)
    assert.equal(new Set(findings).size, 1)
    assert.equal(findings[0]?.state, 'believed')
    assert.equal(await lab.store.find(CID, []), findings[0])
    assert.equal(lab.asked.length, 1)
    assert.deepEqual(lab.asked[0]?.options.via, ['1.1 other'])
    assert.equal(lab.asked[0]?.options.parallel, 3)
    assert.deepEqual(lab.told, [`${CID} believed`, `${CID} from a`])
    lab.store.forget(cid => cid === CID)
    assert.equal(lab.store.known(CID), undefined)
  })

  test('what is asked while its CID is forgotten is told and not kept; whoever asks then has it asked anew', async () => {
    const gates = [deferred<undefined>(), deferred<undefined>()]
    let questions = 0
    const lab = setUp(async (_cid, { take }) => {
      await gates[questions++]?.promise
      take(answerOf('a', 'R1', TRUE_BODY))
    }, { quorum: 1 })
    const before = lab.store.find(CID, [])
    lab.store.forget(cid => cid === CID)
    const after = lab.store.find(CID, [])
    gates[0]?.resolve(undefined)
    assert.equal((await before).state, 'believed')
    assert.deepEqual([lab.store.known(CID), lab.store.asking], [undefined, 1])
    gates[1]?.resolve(undefined)
    const found = await after
    assert.equal(lab.store.known(CID), found)
    assert.deepEqual([lab.asked.length, lab.store.asking], [2, 0])
  })

  test('with publishers one good answer is enough, and what others sign is told by its fault', async () => {
    const lab = setUp(async (_cid, { take }) => {
      assert.equal(take(answerOf('a', 'R1', signedBody(LIE_BODY, makePublisher()))), false)
      assert.equal(take(answerOf('b', 'R2', LIE_BODY)), false)
      assert.equal(take({ node: 'c', witness: 'R3', bytes: Buffer.alloc(100_001) }), false)
      assert.equal(take(answerOf('d', 'R4', signedBody(TRUE_BODY, PUBLISHER))), true)
    }, { signed: true })
    const finding = await lab.store.find(CID, [])
    assert.ok(finding.state === 'believed' && finding.by === 'publisher' && finding.facts.node === 'd')
    assert.deepEqual(lab.told, ['a publisher', 'b unsigned', 'c too-large', `${CID} believed`, `${CID} from d`])
  })

  test('what the cache has kept of a believed one is believed again without asking, if today\'s publishers have signed it', async () => {
    const trusted = manifestText(signedBody(TRUE_BODY, PUBLISHER))
    const own = setUp(undefined, { signed: true, kept: async () => ({ bytes: trusted, storedAt: 0 }) })
    const finding = await own.store.find(CID, [])
    assert.ok(finding.state === 'believed' && finding.by === 'publisher' && finding.facts.node === OWN_NODE)
    assert.deepEqual([own.asked.length, own.texts], [0, []])
    for (const bytes of [manifestText(signedBody(TRUE_BODY, makePublisher())), manifestText(TRUE_BODY), Buffer.from('rot'), undefined]) {
      const lab = setUp(async (_cid, { take }) => { take(answerOf('a', 'R1', signedBody(TRUE_BODY, PUBLISHER))) }, { signed: true, kept: async () => bytes === undefined ? undefined : { bytes, storedAt: 0 } })
      const asked = await lab.store.find(CID, [])
      assert.ok(asked.state === 'believed' && asked.facts.node === 'a')
    }
    const hangs = setUp(undefined, { kept: async () => await new Promise(() => {}) })
    const waiting = hangs.store.find(CID, [])
    await hangs.timers.pass(3_000)
    assert.equal((await waiting).state, 'unsure')
  })

  test('without publishers what was kept is believed when as many of today\'s witnesses vouched for it as there must be today, else they are asked again', async () => {
    const bytes = manifestText(TRUE_BODY)
    const digest = sha256(bytes).toString('hex')
    for (const [witnesses, quorum, asks] of [[['R1', 'R2'], 2, false], [['R1'], 1, false], [['R1'], 2, true], [['R1', 'R2'], 3, true], [[], 1, true]] as const) {
      const lab = setUp(async (_cid, { take }) => { for (const node of ['R1', 'R2', 'R3']) if (take(answerOf(node.toLowerCase(), node, TRUE_BODY))) return }, {
        quorum, kept: async () => ({ bytes, storedAt: 0 }), vouched: (cid, sha256) => cid === CID && sha256 === digest ? witnesses : []
      })
      const finding = await lab.store.find(CID, [])
      assert.ok(finding.state === 'believed' && finding.by === 'quorum')
      assert.deepEqual([finding.facts.node === OWN_NODE, lab.asked.length], [!asks, asks ? 1 : 0], `${witnesses.join(' ')} of ${quorum}`)
      assert.deepEqual(lab.texts.map(({ witnesses, digest }) => [witnesses, digest]), asks ? [[['R1', 'R2', 'R3'].slice(0, quorum), digest]] : [])
    }
  })

  test('what is believed is to be kept as it came, and nothing else', async () => {
    const signed = signedBody(TRUE_BODY, PUBLISHER)
    const lab = setUp(async (_cid, { take }) => {
      take(answerOf('a', 'R1', LIE_BODY))
      take(answerOf('b', 'R2', signed))
    }, { signed: true })
    await lab.store.find(CID, [])
    assert.deepEqual(lab.texts, [{ bytes: manifestText(signed), digest: sha256(manifestText(signed)).toString('hex'), witnesses: ['R2'], by: 'publisher' }])
    const unsure = setUp(async (_cid, { take }) => { take(answerOf('a', 'R1', TRUE_BODY)) })
    await unsure.store.find(CID, [])
    assert.deepEqual(unsure.texts, [])
    const forgotten = setUp(async (cid, { take }) => {
      take(answerOf('a', 'R1', signed))
      forgotten.store.forget(one => one === cid)
    }, { signed: true })
    await forgotten.store.find(CID, [])
    assert.deepEqual(forgotten.texts, [], 'a purge came between')
  })

  const LIFETIME: Lifetime = { ttlMs: 60_000, staleWhileRevalidateMs: 0, staleIfErrorMs: 30_000 }

  test('believes for as long as the manifest is fresh, or as whoever asks allows, and asks again then; for guesses it is there still', async () => {
    const answers = { body: TRUE_BODY }
    const lab = setUp(async (_cid, { take }) => { take(answerOf('a', 'R1', signedBody(answers.body, PUBLISHER))) }, { signed: true, lifetime: LIFETIME })
    const first = await lab.store.find(CID, [])
    assert.ok(first.state === 'believed' && first.at === 0)
    await lab.timers.pass(59_999)
    assert.equal(await lab.store.find(CID, []), first)
    assert.equal(await lab.store.find(CID, [], 60_000), first)
    assert.equal(lab.store.known(CID, 59_999), undefined)
    answers.body = LIE_BODY
    const anew = await lab.store.find(CID, [], 59_999)
    assert.ok(anew.state === 'believed' && anew.at === 59_999 && anew.facts.digest !== first.facts.digest)
    assert.equal(lab.store.known(CID), anew)
    await lab.timers.pass(60_000)
    assert.deepEqual([lab.store.known(CID), lab.store.last(CID)?.digest], [undefined, anew.facts.digest])
    await lab.store.find(CID, [])
    assert.equal(lab.asked.length, 3)
    assert.equal(lab.store.known(CID)?.at, 119_999)
  })

  test('goes by what was believed before when nobody says anything, as long as stale_if_error_ms allows, and asks again after a while; who says something else ends that', async () => {
    const says: { kind: 'true' | 'nothing' | 'unsigned' } = { kind: 'true' }
    const lab = setUp(async (_cid, { take }) => { if (says.kind !== 'nothing') take(answerOf('a', 'R1', says.kind === 'true' ? TRUE_BODY : LIE_BODY)) }, { quorum: 1, lifetime: LIFETIME })
    const first = await lab.store.find(CID, [])
    says.kind = 'nothing'
    await lab.timers.pass(60_000)
    assert.equal(await lab.store.find(CID, []), first)
    assert.equal(await lab.store.find(CID, []), first)
    assert.deepEqual([lab.asked.length, lab.store.known(CID), lab.store.size], [2, undefined, 1])
    await lab.timers.pass(29_999)
    assert.equal(await lab.store.find(CID, []), first)
    assert.equal(lab.asked.length, 3)
    await lab.timers.pass(UNSURE_MS)
    assert.deepEqual(await lab.store.find(CID, []), { state: 'unsure', claims: [] })

    const two = setUp(async (_cid, { take }) => { if (says.kind !== 'nothing') for (const region of ['R1', ...says.kind === 'true' ? ['R2'] : []]) take(answerOf(region, region, says.kind === 'true' ? TRUE_BODY : LIE_BODY)) }, { lifetime: LIFETIME })
    says.kind = 'true'
    assert.equal((await two.store.find(CID, [])).state, 'believed')
    says.kind = 'unsigned'
    await two.timers.pass(60_000)
    const other = await two.store.find(CID, [])
    assert.ok(other.state === 'unsure' && other.claims.length === 1)
  })

  test('takes the cache\'s manifest only while it is fresh, and for as old as it is; else when nobody says anything', async () => {
    const bytes = manifestText(TRUE_BODY)
    const own = (ageMs: number, ask?: ManifestStoreOptions['ask']): Lab => setUp(ask, { kept: async () => ({ bytes, storedAt: WALL - ageMs }), lifetime: LIFETIME, vouched: () => ['R1', 'R2'], quorum: 1 })
    const fresh = own(59_999)
    const found = await fresh.store.find(CID, [])
    assert.ok(found.state === 'believed' && found.at === -59_999)
    assert.equal(fresh.asked.length, 0)
    await fresh.timers.pass(1)
    assert.equal(fresh.store.known(CID), undefined)
    const old = own(60_000, async (_cid, { take }) => { take(answerOf('a', 'R1', LIE_BODY)) })
    const asked = await old.store.find(CID, [])
    assert.ok(asked.state === 'believed' && asked.facts.node === 'a')
    const alone = own(89_999)
    const last = await alone.store.find(CID, [])
    assert.ok(last.state === 'believed' && last.facts.node === OWN_NODE)
    assert.equal(alone.store.known(CID), undefined)
    const over = own(90_000)
    assert.equal((await over.store.find(CID, [])).state, 'unsure')
    // Of a clock that was set back since.
    const future = own(-1_000_000)
    const now = await future.store.find(CID, [])
    assert.ok(now.state === 'believed' && now.at === 0)
  })

  test('says what single nodes claim where nothing is believed, and asks again only after a while', async () => {
    const lab = setUp(async (_cid, { take }) => {
      take(answerOf('a', 'R1', TRUE_BODY))
      take(answerOf('b', 'R2', LIE_BODY))
    })
    const finding = await lab.store.find(CID, [])
    assert.ok(finding.state === 'conflict')
    assert.deepEqual(finding.claims.map(({ node }) => node), ['a', 'b'])
    assert.equal(await lab.store.find(CID, []), finding)
    await lab.timers.pass(UNSURE_MS - 1)
    await lab.store.find(CID, [])
    assert.equal(lab.asked.length, 1)
    await lab.timers.pass(1)
    await lab.store.find(CID, [])
    assert.equal(lab.asked.length, 2)
  })

  test('waits no longer than its time for nodes that never answer, and ends with the relay', async () => {
    const lab = setUp(async () => { await new Promise(() => {}) })
    const finding = lab.store.find(CID, [])
    await lab.timers.pass(3_000)
    assert.deepEqual(await finding, { state: 'unsure', claims: [] })
    assert.equal(lab.asked[0]?.options.signal.aborted, true)
    const other = lab.store.find('QmOther', [])
    lab.store.close()
    assert.equal((await other).state, 'unsure')
    assert.equal((await lab.store.find('QmThird', [])).state, 'unsure')
    assert.equal(lab.asked.length, 2)
    assert.equal(lab.timers.waiting, 0)
  })

  test('a question that fails is one without answers', async () => {
    const lab = setUp(async () => { throw new Error('no') })
    assert.deepEqual(await lab.store.find(CID, []), { state: 'unsure', claims: [] })
  })

  test('asks for a bounded number of CIDs at the same time, and looks at a bounded number of claims', async () => {
    const lab = setUp(async () => { await new Promise(() => {}) })
    const waiting = Array.from({ length: MAX_QUESTIONS }, async (_, n) => await lab.store.find(`Qm${n}`, []))
    assert.equal(lab.store.asking, MAX_QUESTIONS)
    assert.deepEqual(await lab.store.find('QmMore', []), { state: 'unsure', claims: [] })
    assert.deepEqual(lab.told, ['QmMore busy'])
    await until(() => lab.asked.length === MAX_QUESTIONS)
    lab.store.close()
    await Promise.all(waiting)
    const many = setUp(async (_cid, { take }) => {
      for (let n = 1; n <= MAX_CLAIMS; n++) assert.equal(take(answerOf(`n${n}`, 'R1', TRUE_BODY)), n === MAX_CLAIMS)
    })
    assert.equal((await many.store.find(CID, [])).state, 'unsure')
  })

  test('keeps a bounded number of manifests, believed and not', async () => {
    const lab = setUp(async (cid, { take }) => { take(answerOf('a', 'R1', { ...TRUE_BODY, cid })) }, { quorum: 1 })
    for (let n = 0; n < MAX_MANIFESTS + 10; n++) await lab.store.find(`Qm${n}`, [])
    assert.equal(lab.store.size, MAX_MANIFESTS)
    assert.equal(lab.store.known('Qm0'), undefined)
    const unsure = setUp()
    for (let n = 0; n < MAX_UNSURE + 1; n++) await unsure.store.find(`Qm${n}`, [])
    await unsure.store.find('Qm0', [])
    await unsure.store.find(`Qm${MAX_UNSURE}`, [])
    assert.equal(unsure.asked.length, MAX_UNSURE + 2, 'the oldest is asked for again, the latest is not')
  })
})

suite('nodes that sent wrong objects', () => {
  const key = { cid: CID, part: 3 }
  const evidence = (nodes: string[], at: number): Evidence => ({ nodes, key, expected: 'e', received: 'r', by: 'quorum', at })

  test('are listed with the latest evidence of each, a bounded amount', () => {
    const book = new EvidenceBook()
    book.add(evidence(['quiet'], 0))
    for (let at = 1; at <= 1_000; at++) book.add(evidence(['loud'], at))
    assert.deepEqual(book.offenders(), [{ node: 'loud', wrong: 1_000, lastAt: 1_000 }, { node: 'quiet', wrong: 1, lastAt: 0 }])
    assert.equal(book.latest(10_000).length, EVIDENCE_PER_NODE + 1)
    assert.deepEqual(book.latest(2).map(({ at }) => at), [1_000, 999])
    assert.equal(book.latest(10_000).at(-1)?.nodes[0], 'quiet')
    book.add(evidence(['loud', 'quiet'], 2_000))
    assert.equal(book.latest(10_000).filter(({ at }) => at === 2_000).length, 1, 'what two sent together is one piece')
    for (let n = 0; n < MAX_OFFENDERS + 5; n++) book.add(evidence([`n${n}`], 0))
    assert.equal(book.offenders().length, MAX_OFFENDERS)
  })

  test('are not asked for that object for a time, which is short where one of several may be honest', () => {
    const quarantine = new Quarantine()
    quarantine.add(['alone'], key, 0)
    quarantine.add(['one', 'two'], key, 0)
    quarantine.add(['alone', 'two'], key, 0)
    for (const node of ['alone', 'one', 'two']) assert.equal(quarantine.has(node, key, 9_999), true)
    assert.equal(quarantine.has('alone', { cid: CID, part: 4 }, 0), false)
    assert.equal(quarantine.has('one', key, 10_000), false)
    assert.equal(quarantine.has('alone', key, 599_999), true)
    assert.equal(quarantine.has('alone', key, 600_000), false)
    for (let n = 0; n < MAX_QUARANTINED + 50; n++) quarantine.add([`n${n}`], key, 0)
    assert.equal(quarantine.size, MAX_QUARANTINED)
  })
})
