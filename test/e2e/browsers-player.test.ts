/** The player page in Chromium and Firefox: over WebTransport, where UDP is blocked, and as it is left. */
import assert from 'node:assert/strict'
import test from 'node:test'
import { until } from '../../tools/harness/http.ts'
import { blockUdp } from '../support/blocked-udp.ts'
import { spkiOf, startBrowserRig } from '../support/browser-rig.ts'
import { BROWSERS, type BrowserPage } from '../support/browsers.ts'

type State = Readonly<Record<string, string | undefined>>

/** Waits until the whole clip is there, verified, and a second of it has been played. */
async function played (page: BrowserPage): Promise<State> {
  const state = await until(
    async () => await page.evaluate<State>('({ ...document.documentElement?.dataset, time: String(document.querySelector("video")?.currentTime) })'),
    now => now['state'] === 'error' || (now['complete'] === 'true' && now['state'] === 'playing' && Number(now['time']) > 1)
  )
  assert.equal(state['state'], 'playing', `${state['code'] ?? ''} ${await page.evaluate<string>('document.querySelector("#problem").innerText')}`)
  assert.equal(state['digest'], 'ok')
  return state
}

for (const kind of BROWSERS) {
  test(`${kind.name} plays the clip`, { timeout: 600_000, skip: kind.skip }, async t => {
    const rig = await startBrowserRig(t)
    const { relay, cid, viewers } = rig
    const browser = await kind.start(t, await spkiOf(relay))
    const page = await browser.newPage()

    await t.test('over WebTransport, and over it again', async () => {
      await page.goto(`${relay.viewerUrl}/player/?cid=${cid}`)
      const first = await played(page)
      assert.deepEqual([first['transport'], first['hits'], first['misses'], first['reconnects'], first['region'], first['feed']], ['webtransport', '0', '10', '0', 'NA-WEST', 'MSE'])
      await page.screenshot(`player-webtransport-${kind.name.toLowerCase()}`)
      await page.goto(`${relay.viewerUrl}/player/?cid=${cid}`)
      const second = await played(page)
      assert.deepEqual([second['transport'], second['hits'], second['misses']], ['webtransport', '10', '0'])
    })

    await t.test('and leaves no session behind when its page is left', async t => {
      await until(viewers, list => list.length > 0)
      const start = performance.now()
      await page.goto('about:blank')
      const left = await until(viewers, list => list.length === 0 || performance.now() - start > 8_000)
      t.diagnostic(`${left.length} sessions after ${(performance.now() - start).toFixed(0)} ms`)
      assert.deepEqual(left, [])
    })

    await t.test('over WebSocket where UDP is blocked', async () => {
      const { url, counts } = await blockUdp(t, relay.viewerUrl)
      await page.goto(`${url}/player/?cid=${cid}`)
      const state = await played(page)
      assert.deepEqual([state['transport'], state['hits'], state['region']], ['websocket', '10', 'NA-WEST'])
      assert.match(await page.evaluate<string>('document.querySelector("#why").innerText'), /^webtransport: no answer within 3000 ms$/)
      assert.ok(counts.toServer > 0 && counts.toClient === 0)
      await page.screenshot(`player-websocket-${kind.name.toLowerCase()}`)
    })
  })
}
