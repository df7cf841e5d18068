import { chmod, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { chromium, type BrowserContext, type Page } from 'playwright-core'
import { CHROMIUM_FLAGS } from '../../tools/harness/browser.ts'
import { CHROMIUM } from '../../tools/harness/ci.ts'
import { findProgram, ROOT } from '../peers/peer.ts'
import { usageOf, type Usage } from '../../tools/harness/proc.ts'
import { quantile } from '../statistics.ts'
import type { Percentiles } from './load.ts'

/** Sessions are opened where the relay the page is of says, each with a ticket of its own. */
export type BrowserTransport = 'fetch' | 'webtransport' | 'websocket'

export interface DownloadOrder {
  readonly paths: readonly string[]
  readonly parallel: number
  readonly milliseconds: number
}

export interface DownloadOutcome {
  readonly bytes: number
  readonly seconds: number
  readonly firstByteMs: Percentiles
  readonly wholeMs: Percentiles
}

export interface BrowserOptions {
  readonly core: number | undefined
  readonly directory: string
  /** SHA-256 of the public key that needs no authority, base64. */
  readonly spki: string
  /** Ports on which Chromium speaks HTTP/3 immediately instead of after an alt-svc. */
  readonly quicPorts: readonly number[]
}

const spread = (values: number[]): Percentiles => {
  values.sort((a, b) => a - b)
  return { p50: quantile(values, 0.5), p99: quantile(values, 0.99) }
}

/** A page of one origin. */
export class BrowserPage {
  readonly #page: Page
  readonly #script: string

  constructor (page: Page, script: string) {
    this.#page = page
    this.#script = script
  }

  /** @throws Error when the page cannot be loaded */
  async goTo (url: string): Promise<void> {
    await this.#page.goto(url)
    await this.#page.evaluate(this.#script)
  }

  async digest (transport: BrowserTransport, path: string): Promise<{ digest: string, protocol: string }> {
    return await this.#page.evaluate(`compareDigest(${JSON.stringify(transport)}, ${JSON.stringify(path)})`)
  }

  async download (transport: BrowserTransport, order: DownloadOrder): Promise<DownloadOutcome> {
    // A page in the background gets less of everything.
    await this.#page.bringToFront()
    const { bytes, seconds, firstByteMs, wholeMs } = await this.#page.evaluate<{ bytes: number, seconds: number, firstByteMs: number[], wholeMs: number[] }>(`compareDownload(${JSON.stringify(transport)}, ${JSON.stringify(order)})`)
    return { bytes, seconds, firstByteMs: spread(firstByteMs), wholeMs: spread(wholeMs) }
  }
}

/** Chromium on a core of its own, with an empty profile. */
export class Browser {
  readonly #context: BrowserContext
  readonly #pid: number
  readonly #script: string

  private constructor (context: BrowserContext, pid: number, script: string) {
    this.#context = context
    this.#pid = pid
    this.#script = script
  }

  /** @throws Error when Chromium is not installed or does not start */
  static async start ({ core, directory, spki, quicPorts }: BrowserOptions): Promise<Browser> {
    const program = await findProgram('chromium') ?? CHROMIUM
    const launcher = join(directory, 'chromium.sh')
    const pidFile = join(directory, 'chromium.pid')
    await writeFile(launcher, `#!/bin/sh\necho $$ > '${pidFile}'\nexec ${core === undefined ? '' : `taskset -c ${core} `}'${program}' "$@"\n`)
    await chmod(launcher, 0o700)
    const context = await chromium.launchPersistentContext(join(directory, 'chromium'), {
      executablePath: launcher,
      headless: true,
      args: [
        ...CHROMIUM_FLAGS,
        `--ignore-certificate-errors-spki-list=${spki}`,
        ...quicPorts.length === 0 ? [] : [`--origin-to-force-quic-on=${quicPorts.map(port => `127.0.0.1:${port}`).join(',')}`]
      ]
    })
    return new Browser(context, Number(await readFile(pidFile, 'utf8')), await readFile(join(ROOT, 'compare/clients/browser-page.js'), 'utf8'))
  }

  async open (): Promise<BrowserPage> {
    return new BrowserPage(await this.#context.newPage(), this.#script)
  }

  /** Of all its processes. */
  async usage (): Promise<Usage> {
    return await usageOf(this.#pid)
  }

  async close (): Promise<void> {
    await this.#context.close()
  }
}
