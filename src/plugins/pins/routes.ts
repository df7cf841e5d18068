import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import Type from 'typebox'
import { RelayError } from '../../base/errors.ts'
import { reads, writes } from '../admin/route.ts'
import { Bytes, Cid, Millis } from '../admin/schemas.ts'
import { MAX_PINS } from './pin-state.ts'
import type { Pins } from './pins.ts'

export interface PinRoutesOptions {
  readonly pins: Pins
  readonly pinnedBytes: () => number
  readonly quota: () => number
  /** Wall clock, ms since the epoch. */
  readonly now: () => number
}

const TEN_YEARS_MS = 315_360_000_000
const SHOWN = 1_000
const params = Type.Object({ cid: Cid })

const Pin = Type.Object({
  cid: Cid,
  since: Millis('when it was pinned'),
  expiresAt: Type.Union([Millis('until when'), Type.Null()], { description: 'null for ever' }),
  objects: Type.Integer({ minimum: 0, description: 'of the CID that are pinned now; none after a purge, until some come in again' }),
  bytes: Bytes('of them')
})

const Until = Type.Object({
  expiresAt: Type.Optional(Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER, description: 'until when, milliseconds since the epoch' })),
  ttlMs: Type.Optional(Type.Integer({ minimum: 1, maximum: TEN_YEARS_MS, description: 'for how long from now, milliseconds; without either, for ever' }))
}, { additionalProperties: false })

/** `/cache/pins`: what no eviction takes. */
export const pinRoutes: FastifyPluginAsyncTypebox<PinRoutesOptions> = async (app, { pins, pinnedBytes, quota, now }) => {
  app.get('/cache/pins', reads('cache', {
    operationId: 'listPins',
    summary: 'Pinned CIDs',
    description: `Of at most ${MAX_PINS} the latest ${SHOWN}, the latest first.`
  }, Type.Object({
    count: Type.Integer({ minimum: 0, description: 'CIDs that are pinned' }),
    pinnedBytes: Bytes('of objects that are pinned'),
    quotaBytes: Bytes('that pinned objects may take'),
    pins: Type.Array(Pin)
  })), async () => ({ count: pins.count, pinnedBytes: pinnedBytes(), quotaBytes: quota(), pins: pins.list(SHOWN) }))

  const puts = writes('cache', {
    operationId: 'pin',
    summary: 'Pin a CID',
    description: 'Its objects are not evicted, those that come in later included, as far as `cache.pin_max_bytes` goes; a purge takes them all the same, and the pin stays. A pin that is there gets another end.',
    params,
    body: Until
  }, Pin, 409)
  app.put('/cache/pins/:cid', { ...puts, config: { ...puts.config, bodyIsOptional: true } }, async request => {
    const { expiresAt, ttlMs } = request.body
    if (expiresAt !== undefined && ttlMs !== undefined) throw new RelayError('RELAY_ERR_BAD_REQUEST', 'a pin has expiresAt or ttlMs, and not both')
    const { cid } = request.params
    const pin = await pins.add(cid, expiresAt ?? (ttlMs === undefined ? null : now() + ttlMs))
    request.log.info({ ...pin }, 'CID pinned')
    return pin
  })

  app.delete('/cache/pins/:cid', writes('cache', {
    operationId: 'unpin',
    summary: 'Pin a CID no longer',
    description: 'Its objects stay until they are evicted as any other.',
    params
  }, Type.Object({ removed: Type.Boolean() }), 404), async request => {
    const { cid } = request.params
    if (!await pins.remove(cid)) throw new RelayError('RELAY_ERR_NOT_FOUND', 'the CID is not pinned')
    request.log.info({ cid }, 'CID pinned no longer')
    return { removed: true }
  })
}
