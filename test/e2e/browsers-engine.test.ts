/** Chromium and Firefox against the engine itself: what each side hears of the other's closes and resets. */
import assert from 'node:assert/strict'
import test, { type TestContext } from 'node:test'
import type { TransportSession } from '../../src/protocol/transport-session.ts'
import { certificate, pattern, serveBytes, startListener } from '../../tools/harness/quinn-rig.ts'
import { BROWSERS } from '../support/browsers.ts'
import { openSite } from '../support/viewer-page.ts'

const body = pattern(1_048_576)
const CLOSES = 20

const offer = (url: string): string => JSON.stringify({ url, certificateHashes: [{ algorithm: 'sha-256', value: certificate.hash.toString('base64') }] })

for (const kind of BROWSERS) {
  test(`${kind.name} and the engine`, { timeout: 300_000, skip: kind.skip }, async t => {
    const [browser, site] = await Promise.all([kind.start(t), openSite(t)])
    const page = await browser.newPage()
    await page.goto(site)
    const listen = async (t: TestContext, onSession: (session: TransportSession) => void): Promise<{ url: string, sessions: TransportSession[] }> => await startListener(t, onSession, { handshakeTimeoutMs: 60_000 })

    await t.test('the engine hears code and reason of a page that closes', async t => {
      const { url, sessions } = await listen(t, serveBytes(body))
      await page.evaluate(`(async () => {
        const session = await connect(${offer(url)})
        session.close({ closeCode: 4711, reason: 'enough' })
      })()`)
      const heard = await sessions[0]?.closed
      const told = { code: 4711, reason: 'enough', clean: true }
      if (kind.closesBeforeItIsRead && heard?.code === 0) assert.deepEqual(heard, { code: 0, reason: '', clean: true })
      else assert.deepEqual(heard, told)
    })

    await t.test('a page hears code and reason of every session the engine closes, while it reads a stream that stays open', async t => {
      const { url } = await listen(t, session => {
        session.onStream = () => { session.close(99, 'as asked') }
        session.openUni().then(async control => { await control.write(Buffer.from('hello')) }).catch(() => {})
      })
      const heard = await page.evaluate<Record<string, number>>(`(async () => {
        const heard = {}
        for (let round = 0; round < ${CLOSES}; round++) {
          const session = await connect(${offer(url)})
          const { value } = await session.incomingUnidirectionalStreams.getReader().read()
          const reader = value.getReader()
          await reader.read()
          reader.read().catch(() => {})
          const stream = await session.createBidirectionalStream()
          stream.writable.getWriter().write(new Uint8Array(1)).catch(() => {})
          const end = await session.closed.then(({ closeCode, reason }) => closeCode + ' ' + reason, String)
          heard[end] = (heard[end] ?? 0) + 1
        }
        return heard
      })()`)
      assert.deepEqual(heard, { '99 as asked': CLOSES })
    })
  })
}
