import assert from 'node:assert/strict'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { test } from 'node:test'
import { systemClock } from '../../../../src/base/clock.ts'
import type { ScrubObserver, ScrubSource } from '../../../../src/plugins/scrub/scrub.ts'
import { ScrubService } from '../../../../src/plugins/scrub/scrub-service.ts'
import { newScrubState } from '../../../../src/plugins/scrub/scrub-state.ts'

test('the state is kept by one write at a time, so that an older one does not come last', async () => {
  const counts = { writing: 0, most: 0 }
  const service = new ScrubService({
    source: {} as unknown as ScrubSource,
    observer: {} as unknown as ScrubObserver,
    bytesPerSecond: 1,
    intervalMs: 1,
    clock: systemClock,
    state: newScrubState(),
    mayRun: () => false,
    diskBusy: () => false,
    cachedBytes: () => 0,
    keep: async () => {
      counts.most = Math.max(counts.most, ++counts.writing)
      await nextTurn()
      counts.writing--
    }
  })
  await Promise.all([service.pause(), service.pause()])
  assert.deepEqual(counts, { writing: 0, most: 1 })
  await service.close()
})
