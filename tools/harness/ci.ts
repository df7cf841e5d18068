import { existsSync } from 'node:fs'
import { createServer } from 'node:net'
import { once } from 'node:events'

export const CHROMIUM = '/usr/bin/chromium'
export const FIREFOX = '/usr/bin/firefox-esr'

function without (program: string, debianPackage: string): string | false {
  if (existsSync(program)) return false
  if (process.env['CI'] !== undefined) throw new Error(`${program} is missing: .ci/run installs it`)
  return `${program} is not installed (apt-get install ${debianPackage})`
}

/**
 * Why a test that needs Debian's Chromium cannot run here, for the `skip` option; false when it can. In CI a missing browser is a
 * failure and not a skip.
 */
export function withoutChromium (): string | false { return without(CHROMIUM, 'chromium') }

/** As {@link withoutChromium}, for Debian's Firefox. */
export function withoutFirefox (): string | false { return without(FIREFOX, 'firefox-esr') }

/** A TCP port that is free now. */
export async function freePort (): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  server.close()
  await once(server, 'close')
  if (address === null || typeof address === 'string') throw new Error('no port')
  return address.port
}
