/** The dashboard in Chromium, before a relay with super-nodes and traffic. */
import assert from 'node:assert/strict'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import test, { type TestContext } from 'node:test'
import axe from 'axe-core'
import type { Page } from 'playwright-core'
import { request } from 'undici'
import { openBrowser } from '../../tools/harness/browser.ts'
import { freePort, withoutChromium } from '../../tools/harness/ci.ts'
import { fetchHashed, until } from '../../tools/harness/http.ts'
import { NEVER_OVERLOADED, PATIENT_SUPERVISOR } from '../../tools/harness/limits.ts'
import { spawnRelay, spawnSuperNode, type SpawnedRelay } from '../../tools/harness/processes.ts'

const WRITER = 'writer-writer-writer'
const READER = 'reader-reader-reader'
const CID = 'syn-50000-dashboard'
/** What strangers may call themselves. */
const HOSTILE = '<img src=x onerror="window.hacked=1"><script>window.hacked=1</script>'
const SCREENSHOTS = process.env['TEST_SCREENSHOTS']
const VIEWS = ['overview', 'nodes', 'viewers', 'cache', 'jobs', 'denylist', 'log', 'config']
const PATIENCE = { timeout: 30_000 }

interface Watched {
  readonly page: Page
  /** What a page without a fault has none of: violations of its policy, errors, questions to others. */
  readonly faults: string[]
}

/** A page of which all that goes wrong is kept. A request that is refused or lost is no fault of it. */
async function watchedPage (t: TestContext, origin: string): Promise<Watched> {
  const page = await openBrowser(t)
  page.setDefaultTimeout(PATIENCE.timeout)
  const faults: string[] = []
  page.on('pageerror', error => { faults.push(error.message) })
  page.on('console', message => {
    if (['error', 'warning'].includes(message.type()) && !message.text().startsWith('Failed to load resource')) faults.push(message.text())
  })
  page.on('request', asked => { if (asked.url().startsWith('http') && new URL(asked.url()).origin !== origin) faults.push(`asked ${asked.url()}`) })
  return { page, faults }
}

/** For whoever wants to look. */
async function picture (page: Page, name: string): Promise<void> {
  if (SCREENSHOTS === undefined) return
  await mkdir(SCREENSHOTS, { recursive: true })
  await page.screenshot({ path: join(SCREENSHOTS, `dashboard-${name}.png`) })
}

const shows = async (page: Page, text: string | RegExp): Promise<void> => { await page.getByText(text).first().waitFor(PATIENCE) }

/** What of WCAG 2.2 AA and of its best practices the page does not keep to, as far as a program can tell. */
async function inaccessible (page: Page): Promise<unknown> {
  await page.evaluate(axe.source)
  // Links to views that a narrow screen has scrolled away are no links to skip something.
  return await page.evaluate('axe.run({ rules: { "skip-link": { enabled: false } } }).then(({ violations }) => violations.map(({ id, nodes }) => [id, ...nodes.map(({ target }) => target.join(" "))]))')
}

/** The admin API as an operator with a terminal asks it. */
async function ask (relay: SpawnedRelay, path: string, method: 'GET' | 'POST' = 'GET', body?: object): Promise<unknown> {
  const headers = { authorization: `Bearer ${WRITER}`, ...body === undefined ? {} : { 'content-type': 'application/json' } }
  return await (await request(`${relay.adminUrl}/admin/v1${path}`, { method, headers, ...body === undefined ? {} : { body: JSON.stringify(body) } })).body.json()
}

async function unlock (page: Page, token: string): Promise<void> {
  const field = page.getByLabel('Admin token')
  await field.waitFor(PATIENCE)
  await field.fill(token)
  await field.press('Enter')
}

/** Goes to a view as an operator does. */
async function view (page: Page, title: string): Promise<void> { await page.getByRole('navigation').getByRole('link', { name: title, exact: true }).click() }

/** Fills in the form of purges and asks for the dialog of its confirmation. */
async function askToPurge (page: Page, cid: string): Promise<void> {
  await view(page, 'Cache')
  await page.getByLabel('CID').fill(cid)
  await page.getByRole('button', { name: 'Purge …' }).click()
}

test('an operator sees what happens, and what is wrong, and acts', { timeout: 300_000, skip: withoutChromium() }, async t => {
  const node = await spawnSuperNode(t, 'NA-WEST')
  const dead = `http://127.0.0.1:${await freePort()}`
  const relay = await spawnRelay(t, [node, { url: dead, region: 'APAC' }], {
    region: { override: 'NA-WEST' },
    overload: NEVER_OVERLOADED,
    transport: PATIENT_SUPERVISOR,
    bandwidth: { total_bps: 100_000_000 },
    upstream: { health_interval_ms: 200, backoff_initial_ms: 200 },
    admin: { tokens: [{ token: WRITER, scope: 'write' }, { token: READER, scope: 'read' }] }
  })
  const get = async (part: number): Promise<void> => { await fetchHashed(`${relay.viewerUrl}/shards/${CID}/shard_${part}.bin`, { 'user-agent': HOSTILE }) }
  for (const part of [0, 1, 2, 0, 0, 0]) await get(part)
  const cached = async (): Promise<number> => (await ask(relay, '/cache') as { disk: { entries: number } }).disk.entries
  await until(cached, entries => entries === 3)
  await ask(relay, '/denylist/entries', 'POST', { entries: ['QmTakenDown'], reason: HOSTILE })
  await ask(relay, '/jobs', 'POST', { type: 'warm', cids: ['constructor', '__proto__'] })
  const { page, faults } = await watchedPage(t, relay.adminUrl)

  await t.test('shows nothing without a token, and keeps it nowhere', async () => {
    await page.goto(relay.adminUrl)
    await unlock(page, 'wrong-wrong-wrong-wrong')
    await shows(page, 'The relay does not know this token.')
    assert.equal(await page.getByText(node.url.replace('http://', '')).count(), 0)
    await picture(page, 'token')
    await unlock(page, WRITER)
    await shows(page, /^\d.* kB since the start$/)
    assert.equal(await page.getByRole('dialog').count(), 0)
    const kept = await page.evaluate<string>('JSON.stringify([location.href, { ...localStorage }, { ...sessionStorage }, document.cookie, history.state, document.documentElement.outerHTML])')
    assert.equal(kept.includes(WRITER), false)
  })

  await t.test('values of what viewers did', async () => {
    const tile = async (name: string): Promise<string> => await page.locator('.tiles dt', { hasText: name }).locator('xpath=..').innerText()
    await until(async () => { await get(0); return await tile('Hit ratio') }, text => /\d %/.test(text))
    await until(async () => { await get(0); return await tile('To viewers') }, text => /[1-9].* [kM]bit\/s/.test(text))
    const row = page.getByRole('row', { name: node.url.replace('http://', '') })
    assert.match(await row.innerText(), /NA-WEST\s+up/)
    assert.equal(await page.locator('canvas').count(), 3)
  })

  await t.test('what is wrong comes first: a circuit that is open, a configuration that was refused', async () => {
    await shows(page, `Super-node ${dead.replace('http://', '')} (APAC) is open`)
    const good = await readFile(relay.configFile, 'utf8')
    await writeFile(relay.configFile, `${good}\n[no_such]\nkey = 1\n`)
    await view(page, 'Configuration')
    await page.getByRole('button', { name: 'Reload …' }).click()
    await page.getByRole('dialog').getByRole('button', { name: 'Reload' }).click()
    await page.getByRole('dialog').getByText('RELAY_ERR_CONFIG').waitFor(PATIENCE)
    await page.getByRole('dialog').getByRole('button', { name: 'Cancel' }).click()
    await shows(page, /^The configuration was refused/)
    await picture(page, 'troubles')
    await writeFile(relay.configFile, good)
    await page.getByRole('button', { name: 'Reload …' }).click()
    await page.getByRole('dialog').getByRole('button', { name: 'Reload' }).click()
    await shows(page, 'Nothing changes.')
    await page.getByRole('dialog').getByRole('button', { name: 'Close' }).click()
    await until(async () => await page.getByText('The configuration was refused').count(), count => count === 0)
  })

  await t.test('what strangers say is text, in the log and in lists', async () => {
    await view(page, 'Log')
    await shows(page, 'Nothing has ended since you look.')
    await until(async () => { await get(1); return await page.getByRole('row').filter({ hasText: HOSTILE }).count() }, count => count > 0)
    assert.match(await page.getByRole('row').filter({ hasText: HOSTILE }).first().innerText(), new RegExp(`GET ${CID}/1`))
    await view(page, 'Denylist')
    await shows(page, HOSTILE)
    await view(page, 'Jobs')
    await shows(page, 'warm of 2 videos')
    assert.deepEqual(await page.evaluate<unknown>('[window.hacked ?? null, document.querySelectorAll("img:not([src*=icon]), #root script").length]'), [null, 0])
  })

  await t.test('a purge asks first, and is done', async () => {
    await askToPurge(page, CID)
    const dialog = page.getByRole('dialog')
    const purge = dialog.getByRole('button', { name: 'Purge' })
    assert.equal(await purge.isDisabled(), true)
    await dialog.getByRole('textbox').fill(CID.slice(0, -1))
    assert.equal(await purge.isDisabled(), true)
    assert.equal(await cached(), 3)
    await picture(page, 'purge')
    await dialog.getByRole('textbox').fill(CID)
    await purge.click()
    await shows(page, /^3 objects purged in \d+ ms\.$/)
    assert.equal(await cached(), 0)
    await dialog.getByRole('button', { name: 'Close' }).click()
  })

  await t.test('a drain is told where it began, and ends there', async () => {
    await view(page, 'Viewers')
    await page.getByRole('button', { name: 'Drain …' }).click()
    const dialog = page.getByRole('dialog')
    await dialog.getByRole('textbox').fill('drain')
    await dialog.getByRole('button', { name: 'Drain' }).click()
    await dialog.getByText('Viewers are asked to move.').waitFor(PATIENCE)
    await dialog.getByRole('button', { name: 'Close' }).click()
    await shows(page, /^Draining: no new sessions/)
    await shows(page, 'not ready')
    await page.getByRole('button', { name: 'Take viewers again …' }).click()
    await dialog.getByRole('button', { name: 'Take viewers' }).click()
    await dialog.getByText('Viewers are taken again.').waitFor(PATIENCE)
    await dialog.getByRole('button', { name: 'Close' }).click()
    await until(async () => await page.getByText(/^Draining/).count(), count => count === 0)
  })

  await t.test('what is blocked, cancelled and removed here is so for everybody', async () => {
    const dialog = page.getByRole('dialog')
    /** Types what is asked for, where something is, and closes the dialog when it says what came of it. */
    const confirm = async (verb: string, typed: string | undefined, result: string | RegExp): Promise<void> => {
      if (typed !== undefined) await dialog.getByRole('textbox').fill(typed)
      await dialog.getByRole('button', { name: verb }).click()
      await dialog.getByText(result).waitFor(PATIENCE)
      await dialog.getByRole('button', { name: 'Close' }).click()
    }
    await view(page, 'Denylist')
    await page.getByLabel('CID').first().fill('QmBlocked')
    await page.getByRole('button', { name: 'Block …' }).click()
    await confirm('Block', 'QmBlocked', 'It is blocked.')
    assert.equal((await fetchHashed(`${relay.viewerUrl}/shards/QmBlocked/shard_0.bin`)).status, 451)
    await view(page, 'Jobs')
    await page.getByRole('button', { name: 'Cancel' }).click()
    await confirm('Cancel it', undefined, 'It is cancelled.')
    await view(page, 'Super-nodes')
    const gone = new URL(dead).host
    await page.getByRole('row', { name: gone }).getByRole('button', { name: 'Remove' }).click()
    await confirm('Remove', gone, `${gone} is removed.`)
    await shows(page, 'Nothing is wrong that the relay knows of.')
    const { nodes } = await ask(relay, '/upstreams') as { nodes: { id: string }[] }
    assert.deepEqual(nodes.map(({ id }) => id), [new URL(node.url).host])
  })

  await t.test('a token that may only look is told so, with the code', async () => {
    await page.getByRole('button', { name: 'Forget token' }).click()
    await unlock(page, READER)
    await askToPurge(page, CID)
    const dialog = page.getByRole('dialog')
    await dialog.getByRole('textbox').fill(CID)
    await dialog.getByRole('button', { name: 'Purge' }).click()
    await dialog.getByText('RELAY_ERR_ADMIN_SCOPE').waitFor(PATIENCE)
    await page.keyboard.press('Escape')
    await until(async () => await page.getByRole('dialog').count(), count => count === 0)
  })

  await t.test('a relay that hangs or is gone is shown as such, and the page goes on when it is back', async () => {
    await view(page, 'Overview')
    relay.child.kill('SIGSTOP')
    await shows(page, /^The relay is slow to answer/)
    relay.child.kill('SIGCONT')
    await until(async () => await page.getByText(/^The relay is slow to answer/).count(), count => count === 0)
    await page.context().setOffline(true)
    await shows(page, /^No answer, what is shown is as of \d/)
    await picture(page, 'lost')
    await page.context().setOffline(false)
    await until(async () => await page.getByText(/^No answer/).count(), count => count === 0)
    await shows(page, 'live')
  })

  await t.test('every view fits, by day and by night, on a telephone too', async () => {
    for (const [colorScheme, width] of [['light', 1280], ['dark', 1280], ['light', 375], ['dark', 375]] as const) {
      await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' })
      await page.setViewportSize({ width, height: 900 })
      for (const name of VIEWS) {
        await page.evaluate(`location.hash = ${JSON.stringify(name)}`)
        await page.locator(`nav a[href="#${name}"][aria-current=page]`).waitFor(PATIENCE)
        assert.ok(await page.evaluate<boolean>('document.documentElement.scrollWidth <= innerWidth'), `${name} is wider than ${width}`)
        // Colours are others by night, and sizes on a telephone.
        if (width === 1280 && colorScheme === 'light') assert.deepEqual(await inaccessible(page), [], name)
        if (width === 375 && colorScheme === 'dark') assert.deepEqual(await inaccessible(page), [], `${name}, dark`)
        await picture(page, `${name}-${colorScheme}-${width}`)
      }
    }
  })

  await t.test('who leaves leaves nothing running', async () => {
    await page.evaluate('location.hash = "log"')
    const listeners = async (): Promise<number> => (await ask(relay, '/log') as { listeners: number }).listeners
    await until(listeners, count => count === 1)
    await page.goto('about:blank')
    await until(listeners, count => count === 0)
  })

  assert.deepEqual(faults, [])
})
