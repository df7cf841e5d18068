import { constants } from 'node:fs'
import { access, mkdir, readFile, stat } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import type { TestContext } from 'node:test'
import { ManagedProcess } from '../../tools/harness/managed-process.ts'
import { temporaryDirectory } from '../../tools/harness/temporary-directory.ts'

/** Why processes of other users cannot be tried here, for the `skip` option; false when they can. */
export const WITHOUT_USERS = process.platform === 'linux' && process.getuid?.() === 0 ? false : 'other users need Linux and root'

/** Whether everybody may go through every directory down to `path`. */
async function isOpen (path: string): Promise<boolean> {
  for (let at = dirname(path); ; at = dirname(at)) {
    if (((await stat(at)).mode & constants.S_IXOTH) === 0) return false
    if (dirname(at) === at) return true
  }
}

/** A command that runs the built program where other users can read it: where it is, or mounted elsewhere for the process alone (unshare(1)). */
async function commandFor (t: TestContext, program: string, args: readonly string[]): Promise<string[]> {
  if (await isOpen(program)) return [process.execPath, program, ...args]
  const place = await temporaryDirectory(t)
  await access(place, constants.X_OK)
  const root = dirname(dirname(program))
  for (const name of ['dist', 'node_modules']) await mkdir(join(place, name))
  const mount = 'mount --bind "$1/dist" "$2/dist" && mount --bind "$1/node_modules" "$2/node_modules" && cp "$1/package.json" "$2" && chmod 755 "$2" && shift 2 && exec "$@"'
  return ['unshare', '--mount', 'sh', '-c', mount, 'sh', root, place, process.execPath, join(place, 'dist/start.cjs'), ...args]
}

/** Starts the built program as root, so that processes of other users can be made of it; killed with the test. */
export async function startAsRoot (t: TestContext, program: string, args: readonly string[]): Promise<ManagedProcess> {
  const started = ManagedProcess.start(await commandFor(t, resolve(program), args), { name: program })
  t.after(async () => { await started.kill() })
  return started
}

/** What /proc tells of who a process is. */
export async function identity (pid: number): Promise<{ readonly uid: number, readonly gid: number, readonly groups: string, readonly capabilities: bigint, readonly parent: number }> {
  const status = await readFile(`/proc/${pid}/status`, 'utf8')
  const field = (name: string): string => new RegExp(`^${name}:[ \\t]*(.*)$`, 'm').exec(status)?.[1] ?? ''
  return { uid: Number(field('Uid').split(/\s/)[0]), gid: Number(field('Gid').split(/\s/)[0]), groups: field('Groups').trim(), capabilities: BigInt(`0x${field('CapEff')}`), parent: Number(field('PPid')) }
}
