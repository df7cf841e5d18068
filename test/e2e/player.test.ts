import assert from 'node:assert/strict'
import { mkdir } from 'node:fs/promises'
import test, { after, type TestContext } from 'node:test'
import type { Page } from 'playwright-core'
import { withoutChromium } from '../../tools/harness/ci.ts'
import { sharedBrowser } from '../../tools/harness/browser.ts'
import { until } from '../../tools/harness/http.ts'
import { PATIENT } from '../support/browser-rig.ts'
import type { ManagedProcess } from '../../tools/harness/managed-process.ts'
import { SUPER_NODE, spawnProgram, spawnRelay } from '../../tools/harness/processes.ts'

const openPage = sharedBrowser({ after })
const REGIONS = ['NA-WEST', 'EU-WEST', 'APAC']

interface Played {
  readonly hits: number
  readonly misses: number
}

/** Where screenshots go, when somebody wants to look at them. */
const SCREENSHOTS = process.env['TEST_SCREENSHOTS']

async function startSuperNodes (t: TestContext): Promise<{ nodes: ManagedProcess[], origins: { url: string, region: string }[], cid: string }> {
  const nodes = await Promise.all(REGIONS.map(async region => spawnProgram(t, SUPER_NODE, ['--port', '0', '--region', region, '--media', 'demo/media/clip.webm'])))
  const listening = await Promise.all(nodes.map(async node => await node.waitFor(event => event['event'] === 'listening')))
  const items = listening[0]?.['items'] as { cid: string }[] | undefined
  return {
    nodes,
    origins: listening.map((event, position) => ({ url: String(event['url']), region: REGIONS[position] ?? '' })),
    cid: items?.[0]?.cid ?? ''
  }
}

/** Loads the player and waits until the video has played for a second. */
async function play (page: Page, url: string, screenshot: string): Promise<Played> {
  await page.goto(url)
  const state = await until(
    async () => await page.evaluate<Record<string, string>>('({ ...document.documentElement?.dataset, time: String(document.querySelector("video")?.currentTime) })'),
    now => now['state'] === 'error' || (now['complete'] === 'true' && Number(now['time']) > 1)
  )
  assert.equal(state['state'], 'playing', state['code'])
  assert.equal(state['digest'], 'ok')
  if (SCREENSHOTS !== undefined) {
    await mkdir(SCREENSHOTS, { recursive: true })
    await page.screenshot({ path: `${SCREENSHOTS}/${screenshot}.png`, fullPage: true })
  }
  return { hits: Number(state['hits']), misses: Number(state['misses']) }
}

test('Chromium plays the clip through the relay; the second load is all hits; it plays on with one and with all super-nodes dead', { timeout: 240_000, skip: withoutChromium() }, async t => {
  const { nodes, origins, cid } = await startSuperNodes(t)
  const relay = await spawnRelay(t, origins, { ...PATIENT, viewer: { player: true }, region: { override: 'NA-WEST' } })
  const page = await openPage(t)
  const url = `${relay.viewerUrl}/player/?cid=${cid}`
  assert.deepEqual(await play(page, url, 'player-first'), { hits: 0, misses: 10 })
  assert.deepEqual(await play(page, url, 'player-second'), { hits: 10, misses: 0 })
  for (const node of nodes) node.child.kill('SIGKILL')
  await Promise.all(nodes.map(async node => await node.exit))
  assert.deepEqual(await play(page, url, 'player-all-dead'), { hits: 10, misses: 0 })
})

test('Chromium plays a cold clip while the nearest super-node is dead', { timeout: 240_000, skip: withoutChromium() }, async t => {
  const { nodes, origins, cid } = await startSuperNodes(t)
  nodes[0]?.child.kill('SIGKILL')
  await nodes[0]?.exit
  const relay = await spawnRelay(t, origins, { ...PATIENT, viewer: { player: true }, region: { override: 'NA-WEST' } })
  const page = await openPage(t)
  assert.deepEqual(await play(page, `${relay.viewerUrl}/player/?cid=${cid}`, 'player-one-dead'), { hits: 0, misses: 10 })
})

test('the page says what went wrong when nobody has the video', { timeout: 240_000, skip: withoutChromium() }, async t => {
  const { origins } = await startSuperNodes(t)
  const relay = await spawnRelay(t, origins, { ...PATIENT, viewer: { player: true } })
  const page = await openPage(t)
  await page.goto(`${relay.viewerUrl}/player/?cid=nobody-has-this`)
  await page.waitForSelector('html[data-state="error"]')
  assert.match(await page.locator('#problem').innerText(), /RELAY_ERR_SHARD_NOT_FOUND/)
})
