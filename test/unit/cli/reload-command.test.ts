import assert from 'node:assert/strict'
import { test } from 'node:test'
import { reloadConfig, reloadText } from '../../../src/cli/commands/reload.ts'

test('reload prints what has changed, key by key, what is hidden, and what needs a restart', async () => {
  const asked: unknown[] = []
  const ask = (answer: Awaited<ReturnType<Parameters<typeof reloadConfig>[0]>>) => async (path: string, body?: Record<string, unknown>) => {
    asked.push([path, body])
    return answer
  }
  assert.deepEqual(reloadText(await reloadConfig(ask({ changed: [{ key: 'log.level', before: 'info', after: 'debug' }], restart: ['viewer.port'], overridden: ['limits.tracked_ips'] }))), [
    'log.level: "info" → "debug"',
    'limits.tracked_ips: changed, and what was set over the admin API stays in force',
    'viewer.port: needs a restart'
  ])
  assert.deepEqual(reloadText(await reloadConfig(ask({ changed: [], restart: [], overridden: [] }))), ['nothing has changed'])
  assert.deepEqual(asked, [['/config/reload', {}], ['/config/reload', {}]])
})
