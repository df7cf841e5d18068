import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { chromium, type Page } from 'playwright-core'
import { CHROMIUM } from './ci.ts'

/** Flags a root user in a closed network needs; QUIC stays on. */
export const CHROMIUM_FLAGS = ['--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync', '--autoplay-policy=no-user-gesture-required']

/** A page in a headless Chromium with an empty profile, gone with the test. */
export async function openBrowser (t: Pick<TestContext, 'after'>, flags: readonly string[] = []): Promise<Page> {
  const profile = await mkdtemp(join(tmpdir(), 'icn-relay-chromium-'))
  const context = await chromium.launchPersistentContext(profile, {
    executablePath: CHROMIUM,
    headless: true,
    args: [...CHROMIUM_FLAGS, ...flags],
    viewport: { width: 1280, height: 1000 }
  })
  t.after(async () => {
    await context.close()
    await rm(profile, { recursive: true, force: true })
  })
  return context.pages()[0] ?? await context.newPage()
}
