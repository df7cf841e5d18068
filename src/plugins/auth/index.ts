import fp from 'fastify-plugin'
import { ViewerJudge } from '../../admission/viewer-judge.ts'
import { systemClock } from '../../base/clock.ts'
import type { Config } from '../../config/config.ts'
import { keysOf } from '../../config/schema.ts'
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
  const warnOfPlaintext = (config: Config['auth']): void => {
    const keys = plaintextTokens(config)
    if (keys.length > 0) log.warn({ keys }, 'viewer tokens stand in the configuration in plain text; icn-relay --hash-token gives the form that is safe there')
  }
  warnOfPlaintext(auth)
  const { tokens, jwt, signedUrlKeys } = store.current()
  if (auth.require && tokens.length === 0 && jwt === undefined && signedUrlKeys.length === 0) {
    log.warn('auth.require is set and nothing is configured that viewers could show: all of them are refused')
  }
  const judge = new ViewerJudge(store.current(), systemClock.now)
  store.onChange(settings => { judge.replace(settings) })
  app.liveConfig.on(['auth.tokens'], next => () => { warnOfPlaintext(next.auth) })
  app.liveConfig.on(keysOf('auth'), async next => await store.prepare(next.auth), { always: true })
  app.decorate('auth', store)
  app.decorate('judge', judge)
  app.addHook('onClose', async () => { await store.close() })
}, { name: 'auth', dependencies: ['live-config'] })
