import type { LiveSettings } from '../../src/channel/live-settings.ts'

/** Live settings with which a gateway could start, for tests that look at what becomes of them. */
export const LIVE_SETTINGS: LiveSettings = {
  tls: { cert: 'a', key: 'a' },
  limits: { handshakesPerSecond: 1, handshakesPerSecondPerIp: 1, trackedIps: 1, requestsPerSecondPerViewer: 1 },
  networks: { allow: [], deny: [] },
  auth: {} as LiveSettings['auth'],
  region: 'EU-WEST',
  access: { writes: false, sampleHits: 1, sampleMisses: 1, scrapes: false, watched: false },
  debug: false,
  share: { budgetBps: 0, levelBps: undefined, viewerCapBps: 0, viewerFloorBps: 0, burstBytes: 0 },
  classes: { weights: { default: 1 }, ladder: [{ name: '480p', min_bps: 1_000_000 }] },
  overload: { state: 'normal', targets: [] },
  drain: undefined
}
