import { randomInt } from 'node:crypto'
import { existsSync } from 'node:fs'
import { createServer } from 'node:net'
import { once } from 'node:events'

export const CHROMIUM = '/usr/bin/chromium'
export const PROMETHEUS = '/usr/bin/prometheus'
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

/** As {@link withoutChromium}, for Debian's Prometheus. */
export function withoutPrometheus (): string | false { return without(PROMETHEUS, 'prometheus') }

/** Below those that systems give to who asks for any: Linux from 32,768 on, others from 49,152. */
const PORTS = { from: 20_000, to: 32_000 } as const

/** A TCP port that is free now, and that nobody gets who asks for any: tests beside this one do so all the time. */
export async function freePort (): Promise<number> {
  for (;;) {
    const port = randomInt(PORTS.from, PORTS.to)
    const server = createServer().listen(port, '127.0.0.1')
    const taken = await once(server, 'listening').then(() => false, () => true)
    if (taken) continue
    server.close()
    await once(server, 'close')
    return port
  }
}
