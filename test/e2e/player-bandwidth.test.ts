/** The player page under a bandwidth budget: it shows what the relay suggests, and keeps to it. */
import assert from 'node:assert/strict'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import test, { type TestContext } from 'node:test'
import type { Page } from 'playwright-core'
import { request } from 'undici'
import { PATIENT } from '../support/browser-rig.ts'
import { openBrowser } from '../../tools/harness/browser.ts'
import { withoutChromium } from '../../tools/harness/ci.ts'
import { until } from '../../tools/harness/http.ts'
import { SUPER_NODE, spawnProgram, spawnRelay, type SpawnedRelay } from '../../tools/harness/processes.ts'

/** Where screenshots go, when somebody wants to look at them. */
const SCREENSHOTS = process.env['TEST_SCREENSHOTS']
const options = { timeout: 240_000, skip: withoutChromium() }
/** What one of 60 viewers has of 100 Mbit/s. */
const SHARE_BPS = 1_666_666
const SHARD_BYTES = 150_187

type State = Readonly<Record<string, string | undefined>>

async function setup (t: TestContext): Promise<{ relay: SpawnedRelay, url: string, page: Page }> {
  const node = spawnProgram(t, SUPER_NODE, ['--port', '0', '--media', 'demo/media/clip.webm'])
  const { url: origin, items } = await node.waitFor(event => event['event'] === 'listening') as { url: string, items: { cid: string }[] }
  // The burst holds the whole clip: what does not come immediately is what the page does not ask for.
  const relay = await spawnRelay(t, [{ url: origin, region: 'NA-WEST' }], { ...PATIENT, viewer: { player: true }, bandwidth: { total_bps: SHARE_BPS, burst_bytes: 8_000_000 } })
  return { relay, url: `${relay.viewerUrl}/player/?cid=${items[0]?.cid ?? ''}`, page: await openBrowser(t) }
}

async function stateOf (page: Page): Promise<State> {
  return await page.evaluate<State>('({ ...document.documentElement?.dataset, time: String(document.querySelector("video")?.currentTime) })')
}

async function screenshot (page: Page, name: string): Promise<void> {
  if (SCREENSHOTS === undefined) return
  await mkdir(SCREENSHOTS, { recursive: true })
  await page.screenshot({ path: join(SCREENSHOTS, `${name}.png`), fullPage: true })
}

for (const transport of ['webtransport', 'http'] as const) {
  test(`over ${transport} the page shows the suggestion, fetches one shard at a time and no further ahead than four seconds of it`, options, async t => {
    const { relay, url, page } = await setup(t)
    await page.goto(`${url}&transport=${transport}`)
    const early = await until(async () => await stateOf(page), state => state['state'] === 'error' || (Number(state['shards']) >= 3 && state['rendition'] === '480p'))
    assert.equal(early['transport'], transport)
    // Half of it for a moment, while the relay has not forgotten what came on another connection.
    await until(async () => await page.locator('#bandwidth').innerText(), text => /^relay suggests 480p \(1\.\d+ Mbit\/s\)$/.test(text))
    await screenshot(page, `bandwidth-${transport}`)
    const state = await until(async () => await stateOf(page), now => now['state'] === 'error' || (now['complete'] === 'true' && now['state'] === 'playing' && Number(now['time']) > 4))
    assert.equal(state['state'], 'playing', `${state['code'] ?? ''} ${await page.locator('#problem').innerText()}`)
    assert.deepEqual([state['digest'], state['shards'], state['rendition']], ['ok', '10', '480p'])
    // One shard may begin within the four seconds and end beyond them.
    assert.ok(Number(state['ahead']) <= 4 * SHARE_BPS / 8 + SHARD_BYTES, `${state['ahead']} bytes ahead`)
    assert.ok(Number(state['ahead']) < 10 * SHARD_BYTES, 'not the whole clip')
    const lifted = await request(`${relay.adminUrl}/admin/v1/bandwidth`, { method: 'PUT', headers: { 'content-type': 'application/json' }, body: '{"totalBps":0}' })
    assert.equal(lifted.statusCode, 200)
    const place = await page.locator('#again').boundingBox()
    await page.locator('#again').click()
    await until(async () => await stateOf(page), now => now['hits'] === '10' && now['rendition'] === '')
    assert.equal(await page.locator('#bandwidth').innerText(), '')
    // A line that comes or goes moves no button from under a finger.
    assert.deepEqual(await page.locator('#again').boundingBox(), place)
  })
}
