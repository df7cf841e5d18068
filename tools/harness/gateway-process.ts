import { readFile } from 'node:fs/promises'
import { basename } from 'node:path'
import { request } from 'undici'

/** Process id of the gateway of a relay (Linux); undefined while there is none. */
export async function gatewayPid (relayPid: number): Promise<number | undefined> {
  // Node's children may belong to any thread of the process.
  const children = await readFile(`/proc/${relayPid}/task/${relayPid}/children`, 'utf8').catch(() => '')
  for (const pid of children.split(' ').filter(text => text !== '').map(Number)) {
    const command = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')
    // What becomes it is not yet it: setpriv(1) has the program among its arguments while it is still another user.
    const [program = ''] = command.split('\0')
    if (/gateway[/\\]main\.[jt]s/.test(command) && basename(program) !== 'setpriv') return pid
  }
  return undefined
}

/** `icn_relay_gateway_size` by name, and the gateway's resident memory as the system sees it. */
export async function gatewaySizes (adminUrl: string): Promise<Record<string, number>> {
  const text = await (await request(`${adminUrl}/metrics`)).body.text()
  const sizes: Record<string, number> = {}
  for (const match of text.matchAll(/^icn_relay_gateway_size\{name="([^"]+)"\} (\S+)$/gm)) sizes[match[1] ?? ''] = Number(match[2])
  return sizes
}
