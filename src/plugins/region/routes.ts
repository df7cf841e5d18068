import type { FastifyPluginAsyncTypebox } from '@fastify/type-provider-typebox'
import type { Static } from 'typebox'
import { roundMs } from '../../base/clock.ts'
import { RelayError } from '../../base/errors.ts'
import { readsSettings, writes, writesSettings } from '../admin/route.ts'
import { Override, RegionReport } from '../admin/schemas.ts'
import type { SetSection } from '../live-config/set-section.ts'
import type { RegionDetector } from './region-detector.ts'

export interface RegionRoutesOptions {
  readonly detector: RegionDetector
  /** Region names in use. */
  readonly regions: readonly string[]
  readonly set: SetSection
}

/** @throws RelayError RELAY_ERR_BAD_REQUEST when no region has that name */
export function requireRegion (region: string, regions: readonly string[]): void {
  if (!regions.includes(region)) throw new RelayError('RELAY_ERR_BAD_REQUEST', `${JSON.stringify(region)} is not one of ${regions.join(', ')}`)
}

function report ({ current, source, override, detected, last }: RegionDetector): Static<typeof RegionReport> {
  const measured = new Set(last?.nodes.map(node => node.region))
  return {
    current,
    source,
    override: override ?? null,
    detected: detected ?? null,
    measuredAt: last?.measuredAt ?? null,
    tookMs: roundMs(last?.tookMs ?? null),
    outcome: last?.outcome ?? null,
    regions: [...measured].map(region => ({ region, latencyMs: roundMs(last?.latencies.get(region) ?? null) })),
    nodes: (last?.nodes ?? []).map(({ id, region, samples, medianMs }) => ({ id, region, samplesMs: samples.map(roundMs), medianMs: roundMs(medianMs), reachable: medianMs !== null }))
  }
}

/** `/region`: where the relay stands, and how it knows. */
export const regionRoutes: FastifyPluginAsyncTypebox<RegionRoutesOptions> = async (app, { detector, regions, set }) => {
  app.get('/region', readsSettings('region', {
    operationId: 'getRegion',
    summary: 'The region of the relay',
    description: 'With the latest detection and what it measured.'
  }, RegionReport), async () => report(detector))

  app.put('/region', writesSettings('region', {
    operationId: 'setRegion',
    summary: 'Set the region, or null for the detected one',
    description: 'Holds over restarts, until it is dropped: `DELETE /config/overrides`.',
    body: Override
  }, RegionReport, 500, 503), async request => {
    const { override } = request.body
    if (override !== null) requireRegion(override, regions)
    await set('region', { override: override ?? '' }, request.headers['if-match'])
    request.log.warn({ override, region: detector.current }, 'region set')
    return report(detector)
  })

  app.post('/region/detect', writes('region', {
    operationId: 'detectRegion',
    summary: 'Detect the region now and answer with the result',
    description: 'Joins a detection under way; an override stays in force.'
  }, RegionReport, 503), async () => {
    await detector.detect()
    return report(detector)
  })
}
