import { access, readFile } from 'node:fs/promises'
import { RelayError } from '../base/errors.ts'
import type { Config } from '../config/config.ts'
import { listenersOf } from '../config/listeners.ts'
import type { Command } from '../spawn/gateway-process.ts'
import type { Account } from './accounts.ts'

/** Of util-linux. */
const SETPRIV = ['/usr/bin/setpriv', '/bin/setpriv']
/** Linux lets everybody bind ports from here on, where it does not say otherwise. */
const UNPRIVILEGED = 1024

/** The lowest port that needs no capability; ip-sysctl, `ip_unprivileged_port_start`. */
async function lowestFreePort (): Promise<number> {
  const text = await readFile('/proc/sys/net/ipv4/ip_unprivileged_port_start', 'utf8').catch(() => String(UNPRIVILEGED))
  return Number(text)
}

/**
 * A command as it is run as somebody else, with no capability, or with CAP_NET_BIND_SERVICE where a port of the configuration needs it.
 * @throws RelayError RELAY_ERR_CONFIG when that needs `setpriv` and there is none
 */
export async function commandAs ({ file, args, options }: Command, { uid, gid }: Account, config: Config): Promise<Command> {
  const lowest = await lowestFreePort()
  const low = listenersOf(config).find(({ port }) => port > 0 && port < lowest)
  // Without supplementary groups: libuv drops root's when it changes the user.
  if (low === undefined) return { file, args, options: { ...options, uid, gid } }
  const setpriv = await firstOf(SETPRIV)
  if (setpriv === undefined) throw new RelayError('RELAY_ERR_CONFIG', `${low.key} ${low.port} is below ${lowest} and process.user is set, which needs setpriv of util-linux; there is none`)
  const only = '-all,+net_bind_service'
  return {
    file: setpriv,
    args: ['--reuid', String(uid), '--regid', String(gid), '--clear-groups', '--inh-caps', only, '--ambient-caps', only, '--bounding-set', only, '--no-new-privs', '--', file, ...args],
    options
  }
}

async function firstOf (paths: readonly string[]): Promise<string | undefined> {
  for (const path of paths) if (await access(path).then(() => true, () => false)) return path
  return undefined
}
