/** The browsers that viewers use, each by its own driver, behind what tests need of a page. */
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import puppeteer from 'puppeteer-core'
import { openBrowser } from '../../tools/harness/browser.ts'
import { FIREFOX, withoutChromium, withoutFirefox } from '../../tools/harness/ci.ts'

/** Where screenshots go, when somebody wants to look at them. */
const SCREENSHOTS = process.env['TEST_SCREENSHOTS']
/** On a busy machine Firefox takes most of a minute to start. */
const LAUNCH_MS = 180_000
const VIEWPORT = { width: 1280, height: 1000 }

export interface BrowserPage {
  goto (url: string): Promise<void>
  /** Value of an expression, or of the promise it gives, as JSON carries it. */
  evaluate<T> (expression: string): Promise<T>
  /** Writes `<name>.png` where TEST_SCREENSHOTS says, if it says anything. */
  screenshot (name: string): Promise<void>
  /** As when its viewer closes the tab. */
  close (): Promise<void>
}

export interface RunningBrowser {
  newPage (): Promise<BrowserPage>
}

export interface BrowserKind {
  readonly name: string
  /** Why it cannot be used here; false when it can. */
  readonly skip: string | false
  /** Whether the code of a reset is always in the error of the page: Firefox has it or not, as it happens. */
  readonly tellsResetCode: boolean
  /** Whether it closes the connection right behind the close of a session, so that the engine may miss code and reason. */
  readonly closesBeforeItIsRead: boolean
  /**
   * Starts it with an empty profile; it ends with the test.
   * @param spki base64 SHA-256 of a public key whose certificate it accepts for WebSocket, which browsers cannot pin one for
   */
  start (t: Pick<TestContext, 'after'>, spki?: string): Promise<RunningBrowser>
}

async function picture (name: string, take: (path: string) => Promise<unknown>): Promise<void> {
  if (SCREENSHOTS === undefined) return
  await mkdir(SCREENSHOTS, { recursive: true })
  await take(join(SCREENSHOTS, `${name}.png`))
}

/** Undefined members are left out on the way, whatever the driver does with them. */
async function viaJson<T> (evaluate: (expression: string) => Promise<unknown>, expression: string): Promise<T> {
  const text = await evaluate(`(async () => JSON.stringify(await (${expression})) ?? 'null')()`)
  return JSON.parse(text as string) as T
}

const Chromium: BrowserKind = {
  name: 'Chromium',
  skip: withoutChromium(),
  tellsResetCode: true,
  closesBeforeItIsRead: false,
  start: async (t, spki) => {
    const first = await openBrowser(t, spki === undefined ? [] : [`--ignore-certificate-errors-spki-list=${spki}`])
    return {
      newPage: async () => {
        const page = await first.context().newPage()
        return {
          goto: async url => { await page.goto(url) },
          evaluate: async expression => await viaJson(async text => await page.evaluate(text), expression),
          screenshot: async name => { await picture(name, async path => await page.screenshot({ path, fullPage: true })) },
          close: async () => { await page.close() }
        }
      }
    }
  }
}

const Firefox: BrowserKind = {
  name: 'Firefox',
  skip: withoutFirefox(),
  tellsResetCode: false,
  closesBeforeItIsRead: true,
  start: async (t, spki) => {
    const browser = await puppeteer.launch({
      browser: 'firefox',
      executablePath: FIREFOX,
      headless: true,
      // It has no switch for a single key.
      acceptInsecureCerts: spki !== undefined,
      timeout: LAUNCH_MS,
      protocolTimeout: LAUNCH_MS,
      defaultViewport: VIEWPORT,
      extraPrefsFirefox: { 'media.autoplay.default': 0, 'media.autoplay.blocking_policy': 0 }
    })
    t.after(async () => { await browser.close() })
    return {
      newPage: async () => {
        const page = await browser.newPage()
        return {
          goto: async url => { await page.goto(url) },
          evaluate: async expression => await viaJson(async text => await page.evaluate(text), expression),
          screenshot: async name => { await picture(name, async path => await page.screenshot({ path, fullPage: true })) },
          close: async () => { await page.close() }
        }
      }
    }
  }
}

export const BROWSERS: readonly BrowserKind[] = [Chromium, Firefox]
