import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseCommandLine } from '../../../src/cli/arguments.ts'
import { reloadConfig } from '../../../src/cli/reload-command.ts'

test('reload takes where the relay is and nothing else', () => {
  assert.deepEqual(parseCommandLine(['reload']).reload, { admin: undefined })
  const { reload, config, repair, warm, block } = parseCommandLine(['reload', '--admin', 'http://relay:9103', '--config', 'relay.toml'])
  assert.deepEqual([reload, config, repair, warm, block], [{ admin: 'http://relay:9103' }, 'relay.toml', undefined, undefined, undefined])
  assert.equal(parseCommandLine([]).reload, undefined)
  for (const args of [['reload', 'now'], ['reload', '--admin', 'relay'], ['reload', '--parity'], ['reload', '--reason', 'why']]) assert.throws(() => parseCommandLine(args), { code: 'RELAY_ERR_CONFIG' }, args.join(' '))
})

test('it prints what has changed, key by key, what is hidden, and what needs a restart', async () => {
  const asked: unknown[] = []
  const ask = (answer: Awaited<ReturnType<Parameters<typeof reloadConfig>[0]>>) => async (path: string, body?: Record<string, unknown>) => {
    asked.push([path, body])
    return answer
  }
  assert.deepEqual(await reloadConfig(ask({ changed: [{ key: 'log.level', before: 'info', after: 'debug' }], restart: ['viewer.port'], overridden: ['limits.tracked_ips'] })), [
    'log.level: "info" → "debug"',
    'limits.tracked_ips: changed, and what was set over the admin API stays in force',
    'viewer.port: needs a restart'
  ])
  assert.deepEqual(await reloadConfig(ask({ changed: [], restart: [], overridden: [] })), ['nothing has changed'])
  assert.deepEqual(asked, [['/config/reload', {}], ['/config/reload', {}]])
})
