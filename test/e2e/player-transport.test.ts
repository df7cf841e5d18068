/** The player page over every transport, and what it says when the better ones do not work. */
import assert from 'node:assert/strict'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import test, { after, type TestContext } from 'node:test'
import type { Page } from 'playwright-core'
import { request } from 'undici'
import { openBrowser, sharedBrowser } from '../../tools/harness/browser.ts'
import { freePort, withoutChromium } from '../../tools/harness/ci.ts'
import { gatewayPid } from '../../tools/harness/gateway-process.ts'
import { metric, until } from '../../tools/harness/http.ts'
import { PATIENT, spkiOf } from '../support/browser-rig.ts'
import { PATIENT_UPSTREAM } from '../../tools/harness/limits.ts'
import { SUPER_NODE, spawnProgram, spawnRelay, type SpawnedRelay } from '../../tools/harness/processes.ts'

/** Where screenshots go, when somebody wants to look at them. */
const SCREENSHOTS = process.env['TEST_SCREENSHOTS']
const openPage = sharedBrowser({ after })
const options = { timeout: 240_000, skip: withoutChromium() }

/** Where answers come late the client tries the other transports, and Chromium itself writes that it does not accept a self-signed certificate. */
const TRIAL_IN_VAIN = /^WebSocket connection to .* failed: Error in connection establishment: net::ERR_CERT_AUTHORITY_INVALID$/

type State = Readonly<Record<string, string | undefined>>

interface Scene {
  readonly relay: SpawnedRelay
  readonly origin: string
  readonly cid: string
  readonly url: string
}

async function openScene (t: TestContext, viewerPort = 0): Promise<Scene> {
  const node = spawnProgram(t, SUPER_NODE, ['--port', '0', '--media', 'demo/media/clip.webm'])
  const { url: origin, items } = await node.waitFor(event => event['event'] === 'listening') as { url: string, items: { cid: string }[] }
  const cid = items[0]?.cid ?? ''
  const relay = await spawnRelay(t, [{ url: origin, region: 'NA-WEST' }], { ...PATIENT, viewer: { port: viewerPort, websocket_port: 0, player: true }, region: { override: 'NA-WEST' }, upstream: { ...PATIENT_UPSTREAM, negative_ttl_ms: 0 } })
  return { relay, origin, cid, url: `${relay.viewerUrl}/player/?cid=${cid}` }
}

async function stateOf (page: Page): Promise<State> {
  return await page.evaluate<State>('({ ...document.documentElement?.dataset, time: String(document.querySelector("video")?.currentTime) })')
}

/** Waits until the whole clip is there, verified, and a second of it has been played. */
async function played (page: Page): Promise<State> {
  const state = await until(async () => await stateOf(page), now => now['state'] === 'error' || (now['complete'] === 'true' && now['state'] === 'playing' && Number(now['time']) > 1))
  assert.equal(state['state'], 'playing', `${state['code'] ?? ''} ${await page.locator('#problem').innerText()}`)
  assert.equal(state['digest'], 'ok')
  return state
}

async function screenshot (page: Page, name: string): Promise<void> {
  if (SCREENSHOTS === undefined) return
  await mkdir(SCREENSHOTS, { recursive: true })
  for (const colorScheme of ['light', 'dark'] as const) {
    await page.emulateMedia({ colorScheme })
    await page.screenshot({ path: join(SCREENSHOTS, `${name}-${colorScheme}.png`), fullPage: true })
  }
}

/** A UDP port where nobody answers, as behind a firewall that drops: held, so that nobody else takes it. */
async function silentUdpPort (t: TestContext, port = 0): Promise<number> {
  const socket = createSocket('udp4')
  t.after(() => { socket.close() })
  socket.bind(port, '127.0.0.1')
  await once(socket, 'listening')
  return socket.address().port
}

/** The page is told of another UDP port than the real one, so its packets go nowhere. */
async function blockUdp (t: TestContext, page: Page): Promise<void> {
  const port = await silentUdpPort(t)
  await page.route('**/v1/transport', async route => {
    // A client that looks for a better transport may ask while the test ends and the relay is gone already; then its request fails as it would without us.
    const response = await route.fetch().catch(() => undefined)
    if (response === undefined) return await route.abort().catch(() => {})
    const found = await response.json() as { webtransport: { url: string } }
    const url = new URL(found.webtransport.url)
    url.port = String(port)
    await route.fulfill({ response, json: { ...found, webtransport: { ...found.webtransport, url: url.href } } })
  })
}

test('the clip plays over WebTransport and says so; loading again on the same session is all hits', options, async t => {
  const { relay, url } = await openScene(t)
  const page = await openPage(t)
  const problems: string[] = []
  page.on('console', message => { if (['error', 'warning'].includes(message.type()) && !TRIAL_IN_VAIN.test(message.text())) problems.push(message.text()) })
  await page.goto(url)
  const first = await played(page)
  assert.deepEqual([first['transport'], first['hits'], first['misses'], first['reconnects'], first['region']], ['webtransport', '0', '10', '0', 'NA-WEST'])
  assert.match(first['version'] ?? '', /^\d+\.\d+\.\d+/)
  assert.equal(first['feed'], 'MSE')
  assert.equal(await page.locator('#transport').innerText(), 'webtransport')
  assert.equal(await page.locator('#why').isVisible(), false)
  assert.equal(await page.locator('#rows tr[data-kind=data][data-cache=miss][data-digest=ok]').count(), 10)
  await screenshot(page, 'webtransport')
  await page.locator('#again').click()
  await until(async () => await stateOf(page), state => state['hits'] === '10')
  const second = await played(page)
  assert.deepEqual([second['transport'], second['hits'], second['misses'], second['reconnects']], ['webtransport', '10', '0', '0'])
  assert.deepEqual(problems, [])
  const { viewers } = await (await request(`${relay.adminUrl}/admin/v1/viewers`)).body.json() as { viewers: { transport: string, streamsTotal: number }[] }
  assert.deepEqual(viewers.map(({ transport, streamsTotal }) => [transport, streamsTotal]), [['webtransport', 22]])
})

test('where UDP goes nowhere the clip plays over WebSocket, and the page says why', options, async t => {
  const { relay, url } = await openScene(t)
  const page = await openBrowser(t, [`--ignore-certificate-errors-spki-list=${await spkiOf(relay)}`])
  await blockUdp(t, page)
  await page.goto(url)
  const state = await played(page)
  assert.deepEqual([state['transport'], state['misses'], state['region']], ['websocket', '10', 'NA-WEST'])
  assert.match(state['version'] ?? '', /^\d+\.\d+\.\d+/)
  assert.match(await page.locator('#why').innerText(), /^webtransport: no answer within 3000 ms$/)
  await screenshot(page, 'websocket')
})

test('with HTTP/3 down and a certificate the browser cannot accept the clip plays over HTTP, and the page says why', options, async t => {
  const port = await freePort()
  await silentUdpPort(t, port)
  const { url } = await openScene(t, port)
  const page = await openPage(t)
  await page.goto(url)
  const state = await played(page)
  assert.deepEqual([state['transport'], state['misses'], state['reconnects']], ['http', '10', '0'])
  const why = await page.locator('#why li').allInnerTexts()
  assert.equal(why.length, 2)
  assert.match(why[0] ?? '', /^webtransport: the relay does not offer it$/)
  assert.match(why[1] ?? '', /^websocket: .+self-signed/)
  await screenshot(page, 'http')
})

test('?transport= limits the transports', options, async t => {
  const { url } = await openScene(t)
  const page = await openPage(t)
  for (const transport of ['http', 'webtransport']) {
    await page.goto(`${url}&transport=${transport}`)
    assert.equal((await played(page))['transport'], transport)
  }
  assert.equal(await page.locator('#why').isVisible(), false)
  await page.goto(`${url}&transport=http`)
  await played(page)
  assert.match(await page.locator('#why').innerText(), /^\?transport: /)
  // The certificate is self-signed, so the only transport left cannot work.
  const said: string[] = []
  page.on('console', message => { said.push(message.text()) })
  await page.goto(`${url}&transport=websocket`)
  const any = page.getByRole('link', { name: 'Play over any transport' })
  await any.waitFor()
  assert.match(await page.locator('#problem').innerText(), /CLIENT_CONNECT .*websocket[^]*self-signed[^]*https:\/\/127\.0\.0\.1:\d+\/[^]*Play over any transport/)
  // The browser logs every attempt, whatever the page does.
  assert.equal(said.length, 1, said.join('\n'))
  assert.match(said[0] ?? '', /wss:\/\/127\.0\.0\.1:\d+\/v1\/viewer\?/)
  assert.match(await page.locator('#problem a').first().getAttribute('href') ?? '', /^https:\/\/127\.0\.0\.1:\d+\/$/)
  await any.click()
  assert.equal((await played(page))['transport'], 'webtransport')
  await page.goto(`${url}&transport=carrier-pigeon`)
  await page.waitForSelector('html[data-state="error"]')
  assert.match(await page.locator('#problem').innerText(), /BAD_TRANSPORT/)
})

test('four shards that the origin has lost are repaired from parity; five are an error that names them', options, async t => {
  const { origin, url } = await openScene(t)
  const page = await openPage(t)
  const lose = async (match: string): Promise<void> => {
    assert.equal((await request(`${origin}/_demo/faults`, { method: 'POST', body: JSON.stringify({ match, notFound: true }) })).statusCode, 200)
  }
  await lose('shard_00.|shard_03.|shard_07.|shard_09.|shard_13.')
  await page.goto(url)
  await page.waitForSelector('html[data-state="error"]')
  assert.match(await page.locator('#problem').innerText(), /CLIENT_MISSING 5 shards are missing: 0 \(/)
  assert.equal(await page.evaluate('document.querySelector("video").controls'), false, 'controls would show a spinner')
  await screenshot(page, 'five-missing')
  await lose('shard_00.|shard_03.|shard_07.|shard_09.')
  await page.goto(url)
  const state = await played(page)
  assert.deepEqual([state['transport'], state['repaired'], state['shards']], ['webtransport', '0,3,7,9', '10'])
  for (const index of [0, 3, 7, 9]) assert.equal(await page.locator(`#rows tr[data-shard="${index}"][data-cache=repaired][data-digest=ok]`).count(), 1)
  assert.equal(await page.locator('#rows tr[data-kind=parity][data-digest=ok]').count(), 4)
  await screenshot(page, 'repaired')
})

test('without a CID the page offers what is cached; the clip plays from there', options, async t => {
  const { relay, cid } = await openScene(t)
  const page = await openPage(t)
  await page.goto(`${relay.viewerUrl}/player`)
  await page.locator('#offer-none').waitFor()
  assert.equal((await request(`${relay.viewerUrl}/shards/${cid}/manifest.json`)).statusCode, 200)
  await page.goto(relay.viewerUrl)
  await page.locator('#videos a').click()
  await played(page)
  assert.equal(new URL(page.url()).searchParams.get('cid'), cid)
})

test('at 375, 768 and 1280 px nothing scrolls sideways: digest and timeline of every shard are in sight, and codes break at their underscores', options, async t => {
  const { url, relay } = await openScene(t)
  const page = await openPage(t)
  for (const width of [375, 768, 1280]) {
    await page.setViewportSize({ width, height: 800 })
    await page.goto(url)
    await played(page)
    const right = await page.evaluate<number[]>("[...document.querySelectorAll('td .badge, .track, td.number')].map(node => node.getBoundingClientRect()).filter(box => box.width > 0).map(box => box.right)")
    assert.equal(right.length, 60)
    assert.ok(Math.max(...right) <= width, `${Math.max(...right)} of ${width}`)
    assert.equal(await page.evaluate('document.documentElement.scrollWidth'), width)
    const overlaps = await page.evaluate<number>("[...document.querySelectorAll('tbody tr')].filter(row => { const cells = [...row.children].map(cell => { const range = document.createRange(); range.selectNodeContents(cell); return range.getBoundingClientRect() }); return cells.some((one, at) => cells.some((other, then) => then > at && one.left < other.right - 1 && other.left < one.right - 1 && one.top < other.bottom - 1 && other.top < one.bottom - 1)) }).length")
    assert.equal(overlaps, 0, `rows with overlapping cells at ${width} px`)
    await screenshot(page, `width-${width}`)
  }
  await page.setViewportSize({ width: 375, height: 800 })
  for (const wrong of ['nobody-has-this', 'not a CID']) {
    await page.goto(`${relay.viewerUrl}/player/?cid=${wrong}`)
    await page.locator('#problem strong wbr').first().waitFor({ state: 'attached' })
    assert.match(await page.locator('#status').innerText(), /no video with this CID/)
    await page.locator('#videos a').waitFor()
    const lines = await page.evaluate<number>("(node => node.offsetHeight / parseFloat(getComputedStyle(node).lineHeight))(document.querySelector('#videos a'))")
    assert.ok(lines < 1.5, `the CID that it offers has ${lines} lines`)
  }
  await screenshot(page, 'offer-375')
  await page.locator('#videos a').click()
  await played(page)
})

test('what the relay asked of the page is no longer shown when the page has done it', options, async t => {
  const { relay, url } = await openScene(t)
  const page = await openPage(t)
  await page.goto(url)
  await played(page)
  assert.equal((await request(`${relay.adminUrl}/admin/v1/drain`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{"deadlineMs":1000}' })).statusCode, 202)
  const left = await until(async () => await stateOf(page), state => Number(state['reconnects']) > 0)
  assert.deepEqual([left['control'], left['transport']], ['drain', 'http'])
  assert.equal(await page.locator('#event').innerText(), '')
})

test('after a load that fails without a manifest no row of the one before is left', options, async t => {
  const { relay, origin, url } = await openScene(t)
  const page = await openPage(t)
  await page.goto(url)
  await played(page)
  assert.equal((await request(`${origin}/_demo/faults`, { method: 'POST', body: '{"notFound":true}' })).statusCode, 200)
  assert.equal((await request(`${relay.adminUrl}/admin/v1/cache/shards/${new URL(url).searchParams.get('cid') ?? ''}`, { method: 'DELETE', headers: { 'x-requested-with': 'test' } })).statusCode, 200)
  await page.locator('#again').click()
  await page.waitForSelector('html[data-state="error"]')
  assert.equal(await page.locator('#rows tr').count(), 0)
})

test('a relay called localhost is reached over WebTransport too', options, async t => {
  const { relay, cid } = await openScene(t)
  const page = await openPage(t)
  await page.goto(`http://localhost:${new URL(relay.viewerUrl).port}/player/?cid=${cid}`)
  assert.equal((await played(page))['transport'], 'webtransport')
})

test('without the built client library the page says what to run', options, async t => {
  const { url } = await openScene(t)
  const page = await openPage(t)
  await page.route('**/player/client/**', async route => { await route.fulfill({ status: 404 }) })
  await page.goto(url)
  await page.waitForSelector('html[data-state="error"]')
  assert.match(await page.locator('#problem').innerText(), /NO_CLIENT .*npm run build/)
  await screenshot(page, 'no-client')
})

test('kill -9 of the gateway under an open page: loading goes on, and the page is back on WebTransport by itself', { ...options, skip: options.skip === false && process.platform !== 'linux' ? 'needs /proc' : options.skip }, async t => {
  const { relay, url } = await openScene(t)
  const page = await openPage(t)
  await page.goto(url)
  await played(page)
  process.kill(await gatewayPid(relay.pid) ?? assert.fail('no gateway'), 'SIGKILL')
  // Pressed immediately: whatever transport there is, or none, the load must end well.
  await page.locator('#again').click()
  await until(async () => await stateOf(page), state => state['hits'] === '10' || state['state'] === 'error')
  await played(page)
  const state = await until(async () => await stateOf(page), now => Number(now['reconnects']) > 0 && now['transport'] === 'webtransport')
  assert.equal(state['state'], 'playing')
  await screenshot(page, 'reconnected')
  assert.equal(await metric(relay.adminUrl, 'icn_relay_gateway_restarts_total', '{reason="exit"}'), 1)
  await page.reload()
  const after = await played(page)
  assert.deepEqual([after['transport'], after['hits'], after['reconnects']], ['webtransport', '10', '0'])
})
