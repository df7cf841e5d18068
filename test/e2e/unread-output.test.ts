import assert from 'node:assert/strict'
import { execFile, spawn } from 'node:child_process'
import { open, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import test from 'node:test'
import { promisify } from 'node:util'
import { Agent, request } from 'undici'
import { inParallel, metric } from '../../tools/harness/http.ts'
import { nodeCommand, ROOT, type Exit } from '../../tools/harness/managed-process.ts'
import { SERVER } from '../../tools/harness/processes.ts'
import { temporaryDirectory } from '../../tools/harness/temporary-directory.ts'

/** Each leaves a line of some 500 bytes: more than a pipe and the memory for lines hold. None is refused, since of those only some are logged. */
const REQUESTS = 4_000

test('standard output nobody reads: requests are answered, lines are counted, SIGTERM ends the process within its deadline', { timeout: 240_000 }, async t => {
  const directory = await temporaryDirectory(t)
  const fifo = join(directory, 'out')
  await promisify(execFile)('mkfifo', [fifo])
  const config = join(directory, 'relay.toml')
  await writeFile(config, [
    '[viewer]', 'host = "127.0.0.1"', 'port = 0', 'websocket_port = 0', 'stop_timeout_ms = 2000', '[admin]', 'port = 0', '[transport]', 'engine = "off"',
    '[cache]', `path = ${JSON.stringify(join(directory, 'cache'))}`, '[limits]', 'requests_per_second_per_viewer = 1000000', 'connections_per_ip = 1000000'
  ].join('\n'))
  // Open for both, so that neither side waits for the other; two, because the relay makes its own non-blocking.
  const [pipe, reader] = [await open(fifo, 'r+'), await open(fifo, 'r+')]
  t.after(async () => { await Promise.all([pipe.close(), reader.close()]) })
  const [program = '', ...args] = nodeCommand(SERVER, '--config', config)
  const child = spawn(program, args, { cwd: ROOT, stdio: ['ignore', pipe.fd, 'ignore'] })
  const exit = new Promise<Exit>(resolve => { child.once('close', (code, signal) => { resolve({ code, signal }) }) })
  t.after(async () => {
    if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL')
    await exit
  })
  let text = ''
  while (!/"viewerPort":(\d+)[^\n]*"adminPort":(\d+)|"adminPort":(\d+)[^\n]*"viewerPort":(\d+)/.test(text)) {
    const { bytesRead, buffer } = await reader.read(Buffer.alloc(4_096), 0, 4_096, null)
    text += buffer.toString('utf8', 0, bytesRead)
  }
  const port = (name: string): string => `http://127.0.0.1:${new RegExp(`"${name}":(\\d+)`).exec(text)?.[1] ?? ''}`
  // From here on nobody reads.
  const agent = new Agent({ connections: 50, pipelining: 1 })
  t.after(async () => { await agent.close() })
  const statuses = await inParallel(Array.from({ length: REQUESTS }), 50, async () => {
    const response = await request(`${port('viewerPort')}/v1/transport?ticket=none&pad=${'x'.repeat(300)}`, { dispatcher: agent })
    await response.body.dump()
    return response.statusCode
  })
  assert.deepEqual(new Set(statuses), new Set([200]))
  assert.ok(await metric(port('adminPort'), 'icn_relay_log_lines_dropped_total') > 0)
  child.kill('SIGTERM')
  assert.deepEqual(await exit, { code: 0, signal: null })
})
