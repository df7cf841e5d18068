import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { chromium, type Browser, type Page } from 'playwright-core'
import { CHROMIUM } from './ci.ts'
import type { Cleanup } from './cleanup.ts'

/** Flags a root user in a closed network needs; QUIC stays on. */
export const CHROMIUM_FLAGS = ['--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync', '--autoplay-policy=no-user-gesture-required']

const VIEWPORT = { width: 1280, height: 1000 }

/** A page in a headless Chromium with an empty profile, gone with the test. */
export async function openBrowser (t: Pick<TestContext, 'after'>, flags: readonly string[] = []): Promise<Page> {
  const profile = await mkdtemp(join(tmpdir(), 'icn-relay-chromium-'))
  const context = await chromium.launchPersistentContext(profile, {
    executablePath: CHROMIUM,
    headless: true,
    args: [...CHROMIUM_FLAGS, ...flags],
    viewport: VIEWPORT
  })
  t.after(async () => {
    await context.close()
    await rm(profile, { recursive: true, force: true })
  })
  return context.pages()[0] ?? await context.newPage()
}

/**
 * One headless Chromium for all tests of a file, started for the first page and gone with the file.
 * @returns opens a page with an empty profile of its own, gone with its test
 */
export function sharedBrowser (file: Cleanup): (t: Cleanup) => Promise<Page> {
  let launched: Promise<Browser> | undefined
  file.after(async () => { await (await launched)?.close() })
  return async t => {
    launched ??= chromium.launch({ executablePath: CHROMIUM, headless: true, args: [...CHROMIUM_FLAGS] })
    const context = await (await launched).newContext({ viewport: VIEWPORT })
    t.after(async () => { await context.close() })
    return await context.newPage()
  }
}
