import fp from 'fastify-plugin'
import { ViewerJudge } from '../../admission/viewer-judge.ts'
import { systemClock } from '../../base/clock.ts'
import type { Config } from '../../config/config.ts'
import { plaintextTokens } from './auth-files.ts'
import { AuthStore } from './auth-store.ts'

declare module 'fastify' {
  interface FastifyInstance {
    /** What viewers are judged by; the gateway process has a judge of its own. */
    auth: AuthStore
    /** Judges viewers over HTTP. */
    judge: ViewerJudge
  }
}

/** Viewer authentication: keys and tokens, read again when their files change, and the judge of the HTTP surface. */
export default fp<{ config: Config }>(async (app, { config: { auth } }) => {
  const log = app.log.child({ plugin: 'auth' })
  const store = await AuthStore.open(auth, { log: (level, message, fields) => { log[level](fields ?? {}, message) } })
  const plaintext = plaintextTokens(auth)
  if (plaintext.length > 0) log.warn({ keys: plaintext }, 'viewer tokens stand in the configuration in plain text; icn-relay --hash-token gives the form that is safe there')
  const { tokens, jwt, signedUrlKeys } = store.current()
  if (auth.require && tokens.length === 0 && jwt === undefined && signedUrlKeys.length === 0) {
    log.warn('auth.require is set and nothing is configured that viewers could show: all of them are refused')
  }
  const judge = new ViewerJudge(store.current(), systemClock.now)
  store.onChange(settings => { judge.replace(settings) })
  app.decorate('auth', store)
  app.decorate('judge', judge)
  app.addHook('onClose', async () => { await store.close() })
}, { name: 'auth' })
