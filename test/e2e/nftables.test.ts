/** `deploy/nftables.conf` in a network namespace: what of a flood the kernel lets through, by its own counters and by what a server receives. */
import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { suite, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { NFT_NEEDS, withoutNamespaces } from '../support/namespaces.ts'
import type { FloodResult } from '../support/flood-lab.ts'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
/** What is let through of one address, packets: `burst`, and `rate` a second. */
const UDP_ADDRESS = { burst: 60, rate: 30 }
const UDP_TOTAL = { burst: 600, rate: 300 }
const TCP_ADDRESS = { burst: 80, rate: 40 }

const skip = withoutNamespaces([['--net', 'ip', '-V'], ['--net', 'nft', '-v'], ['--net', 'nsenter', '-V'], ['--net', 'nft', 'list', 'ruleset']], NFT_NEEDS)

suite('floods that never finish a handshake', { skip, concurrency: false }, () => {
  const results = new Map<string, FloodResult>()
  const result = (name: string): FloodResult => results.get(name) ?? assert.fail(`no ${name}`)

  /** Most that a limit lets through in the time it took. */
  const most = ({ burst, rate }: { burst: number, rate: number }, { elapsedMs }: FloodResult): number => burst + rate * (elapsedMs / 1_000 + 1)

  /** All that was not let through was dropped by this counter, and no other. */
  const assertHeld = (name: string, counter: string, limit: { burst: number, rate: number }): void => {
    const seen = result(name)
    assert.ok(seen.received <= most(limit, seen), `${name}: ${seen.received} received in ${seen.elapsedMs} ms`)
    assert.deepEqual({ ...seen.dropped }, { udp_address: 0, udp_total: 0, tcp_address: 0, tcp_total: 0, [counter]: seen.sent - seen.received })
  }

  const assertUndisturbed = (name: string): void => {
    const { received, sent, dropped } = result(name)
    assert.equal(received, sent, name)
    assert.deepEqual(Object.values(dropped), [0, 0, 0, 0], name)
  }

  test('are sent', async () => {
    const { stdout } = await promisify(execFile)('unshare', ['--net', process.execPath, '--import', 'tsx', `${ROOT}/test/support/flood-lab.ts`], { cwd: ROOT })
    for (const line of stdout.trim().split('\n')) {
      const seen = JSON.parse(line) as FloodResult
      results.set(seen.name, seen)
    }
    assert.equal(results.size, 20)
  })

  for (const [version, one, other] of [['IPv4', '10.99.0.2', '10.99.0.3'], ['IPv6', 'fd00:99::2', 'fd00:99:0:1::2']] as const) {
    test(`${version}: from many ports are dropped, and another address gets through`, () => {
      assertHeld(`ports, ${one}`, 'udp_address', UDP_ADDRESS)
      assertUndisturbed(`ports, ${other}`)
    })

    test(`${version}: are dropped whatever the form of their packets`, () => {
      assertHeld(`short headers, ${one}`, 'udp_address', UDP_ADDRESS)
      assertUndisturbed(`short headers, ${other}`)
    })

    test(`${version}: of Initials from one port that was answered are dropped, and another address gets through`, () => {
      assertHeld(`one port, ${one}`, 'udp_address', UDP_ADDRESS)
      assertUndisturbed(`one port, ${other}`)
    })

    test(`${version}: packets of a session are not counted`, () => { assertUndisturbed(`a session, ${one}`) })

    test(`${version}: of connections are dropped, and another address connects`, () => {
      const flood = result(`connections, ${one}`)
      assert.ok(flood.opened <= most(TCP_ADDRESS, flood), `${flood.opened} opened`)
      assert.ok((flood.dropped['tcp_address'] ?? 0) > 0, JSON.stringify(flood.dropped))
      const { opened, sent, dropped } = result(`connections, ${other}`)
      assert.deepEqual([opened, Object.values(dropped)], [sent, [0, 0, 0, 0]])
    })
  }

  test('IPv6 addresses of one /64 share its limits', () => {
    assert.deepEqual([...result('ports, fd00:99::3').known6].sort(), ['fd00:99:0:1::', 'fd00:99::'])
  })

  test('of many addresses, none of which sends much, meet the limit in total', () => {
    assertHeld('ports, crowd', 'udp_total', UDP_TOTAL)
  })
})
