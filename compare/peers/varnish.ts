import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { ManagedProcess } from '../../tools/harness/managed-process.ts'
import { freePorts, requireProgram, template, type Running, type World } from './peer.ts'

/** Varnish with everything in memory. @throws Error when it is not installed or does not start */
export async function startVarnish (world: World): Promise<Running> {
  const command = await requireProgram('varnishd')
  const [http = 0] = await freePorts(1)
  const directory = join(world.directory, 'varnish')
  await mkdir(directory)
  const file = join(world.directory, 'varnish.vcl')
  await writeFile(file, await template('varnish.vcl', { ORIGIN_HOST: world.origin.host, ORIGIN_PORT: world.origin.port }))
  // No jail: its users could not enter our temporary folder.
  const process = ManagedProcess.start([command, '-j', 'none', '-F', '-n', directory, '-a', `127.0.0.1:${http}`, '-f', file, '-s', 'malloc,1g', '-p', 'vcc_allow_inline_c=off'], { core: world.serverCore })
  await process.listening(http)
  return { process, http }
}
