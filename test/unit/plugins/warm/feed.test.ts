import assert from 'node:assert/strict'
import { suite, test } from 'node:test'
import fc from 'fast-check'
import { RelayError } from '../../../../src/base/errors.ts'
import { MAX_BACKOFF_MS, WarmFeed, type FeedAnswer } from '../../../../src/plugins/warm/feed.ts'
import { MAX_RECENT, parseRecent } from '../../../../src/plugins/warm/recent.ts'
import { cidOfManifest, videosOf } from '../../../../src/plugins/warm/warm-request.ts'
import { WarmRate } from '../../../../src/plugins/warm/warm-rate.ts'
import type { FeedState } from '../../../../src/plugins/warm/warm-state.ts'
import { orRefused } from '../../../support/fuzz.ts'
import { virtualTimers } from '../../../fakes/timers.ts'

const URL_OF = 'http://super-1.example:9002/recent'

interface Rig {
  readonly feed: WarmFeed
  readonly log: unknown[]
  answer: FeedAnswer | Error
  behind: boolean
  busy: boolean
}

function setUp (kept: FeedState | null = null, random = 0.5): Rig {
  const log: unknown[] = []
  const rig: Rig = {
    log,
    answer: undefined,
    behind: false,
    busy: false,
    feed: new WarmFeed({
      url: URL_OF,
      intervalMs: 1_000,
      maxAgeMs: 100,
      ask: async etag => {
        log.push(['asked', etag])
        if (rig.answer instanceof Error) throw rig.answer
        return rig.answer
      },
      behind: () => rig.behind,
      take: async (cids, state) => {
        if (rig.busy) throw new RelayError('RELAY_ERR_JOBS_BUSY', 'full')
        log.push(['taken', cids, state.etag, state.cids.length])
      },
      clock: { now: () => 10_000 },
      timers: virtualTimers(),
      random: () => random,
      observer: { polled: (outcome, videos) => { log.push([outcome, videos]) } },
      log: (level, message) => { log.push([level, message]) }
    }, kept)
  }
  return rig
}

const item = (cid: string, publishedAt = 10_000): { cid: string, publishedAt: number } => ({ cid, publishedAt })

suite('the feed', () => {
  test('what was not in the answer before, and is young enough, is taken, each once', async () => {
    const rig = setUp()
    rig.answer = { items: [item('QmB'), item('QmA'), item('QmB'), item('QmOld', 9_899)], etag: '"1"' }
    assert.equal(await rig.feed.poll(), 1_000)
    rig.answer = undefined
    await rig.feed.poll()
    rig.answer = { items: [item('QmC'), item('QmB')], etag: null }
    await rig.feed.poll()
    assert.deepEqual(rig.log, [
      ['asked', null], ['taken', ['QmB', 'QmA'], '"1"', 3], ['changed', 2],
      ['asked', '"1"'], ['unchanged', 0],
      ['asked', '"1"'], ['taken', ['QmC'], null, 2], ['changed', 1]
    ])
  })

  test('a failing feed is asked less and less, and is told once; what could not be queued is new again', async () => {
    const rig = setUp()
    rig.answer = new Error('refused')
    const pauses: number[] = []
    for (let n = 0; n < 14; n++) pauses.push(await rig.feed.poll())
    assert.deepEqual([pauses.slice(0, 3), pauses.at(-1)], [[2_000, 4_000, 8_000], MAX_BACKOFF_MS])
    assert.equal(rig.log.filter(line => (line as unknown[])[0] === 'warn').length, 1)
    rig.answer = { items: [item('QmA')], etag: '"1"' }
    rig.busy = true
    await rig.feed.poll()
    rig.busy = false
    assert.equal(await rig.feed.poll(), 1_000)
    assert.deepEqual(rig.log.slice(-5), [['failed', 0], ['asked', null], ['taken', ['QmA'], '"1"', 1], ['changed', 1], ['info', 'feed can be read again']])
  })

  test('nothing is asked while the videos of an earlier answer wait; the pause is a tenth off at most', async () => {
    const rig = setUp()
    rig.behind = true
    await rig.feed.poll()
    assert.deepEqual(rig.log, [])
    assert.deepEqual([await setUp(null, 0).feed.poll(), Math.round(await setUp(null, 0.999999).feed.poll())], [900, 1_100])
  })

  test('what was kept counts for the same URL only', async () => {
    const kept = { url: URL_OF, etag: '"1"', cids: ['QmA'] }
    for (const [url, etag] of [[URL_OF, '"1"'], ['http://other/recent', null]] as const) {
      const rig = setUp({ ...kept, url })
      await rig.feed.poll()
      assert.deepEqual(rig.log[0], ['asked', etag])
    }
  })

  test('a list is read or refused, whatever it is', () => {
    const list = (count: number): string => JSON.stringify({ items: Array.from({ length: count }, (_, n) => ({ cid: `Qm${n}`, publishedAt: '2026-01-01T00:00:00Z', tags: [] })) })
    assert.equal(parseRecent(list(MAX_RECENT)).length, MAX_RECENT)
    assert.throws(() => parseRecent(list(MAX_RECENT + 1)), { code: 'RELAY_ERR_UPSTREAM_PROTOCOL', message: /must NOT have more than 1000 items/ })
    fc.assert(fc.property(fc.oneof(fc.json(), fc.string(), fc.string().map(text => JSON.stringify({ items: [{ cid: 'QmA', publishedAt: text }] }))), text => {
      for (const { cid, publishedAt } of orRefused(['RELAY_ERR_UPSTREAM_PROTOCOL'], () => parseRecent(text)) ?? []) assert.ok(/^[\w-]{1,128}$/.test(cid) && Number.isFinite(publishedAt))
    }))
  })
})

suite('what a job is asked for', () => {
  test('the URL of a manifest names its CID by the path of the contract, or of the configuration', () => {
    const template = '/v/{cid}.mpd/m.json'
    assert.equal(cidOfManifest('https://a.example/shards/Qm_-9/manifest.json?x=1', template), 'Qm_-9')
    assert.equal(cidOfManifest('http://a/v/QmA.mpd/m.json', template), 'QmA')
    for (const url of ['http://a/v/QmA/m.json', 'http://a/shards//manifest.json', 'http://a/shards/Qm%41/manifest.json', 'ftp://a/shards/QmA/manifest.json', 'http://[/shards/QmA/manifest.json', `http://a/shards/${'x'.repeat(129)}/manifest.json`, 'http://a/shards/QmA/manifest.json/']) {
      assert.throws(() => cidOfManifest(url, template), { code: 'RELAY_ERR_BAD_REQUEST' }, url)
    }
    fc.assert(fc.property(fc.stringMatching(/^[A-Za-z0-9_-]{1,128}$/), cid => { assert.equal(cidOfManifest(`http://a/v/${cid}.mpd/m.json`, template), cid) }))
    fc.assert(fc.property(fc.oneof(fc.string(), fc.webUrl({ withQueryParameters: true })), url => { orRefused(['RELAY_ERR_BAD_REQUEST'], () => cidOfManifest(url, template)) }))
  })

  test('data shards and the manifest, all with parity, or what is named', () => {
    assert.deepEqual(videosOf({ cids: ['QmA', 'QmA'] }, '').map(({ parts }) => parts), ['..........----.'])
    assert.deepEqual(videosOf({ cids: ['QmA'], parity: true }, '').map(({ parts }) => parts), ['...............'])
    assert.deepEqual(videosOf({ shards: [{ cid: 'QmA', part: 13 }, { cid: 'QmA', part: 0 }, { cid: 'QmB', part: 'manifest' }] }, ''), [{ cid: 'QmA', parts: '.------------.-' }, { cid: 'QmB', parts: '--------------.' }])
  })

  test('a rate is that of late', () => {
    const rate = new WarmRate(0)
    assert.deepEqual(rate.read(0), { bytes: 0, objects: 0 })
    for (let now = 0; now < 60_000; now += 500) rate.add(100, now)
    assert.deepEqual(rate.read(60_000), { bytes: 100 * 58 / 30, objects: 58 / 30 })
    assert.deepEqual(rate.read(120_000), { bytes: 0, objects: 0 })
  })
})
