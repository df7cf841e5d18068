import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { RelayError } from '../base/errors.ts'

const run = promisify(execFile)

/** Whom a process runs as. */
export interface Account {
  readonly uid: number
  /** Its primary group. */
  readonly gid: number
}

/**
 * The account of a name, or of a number in digits, as the system's name services know it (POSIX `id`).
 * @param key of the configuration that names it
 * @throws RelayError RELAY_ERR_CONFIG when there is none, or it is root
 */
export async function findAccount (name: string, key: string): Promise<Account> {
  const ask = async (what: string): Promise<number> => Number((await run('id', [what, '--', name], { timeout: 10_000 })).stdout)
  let account: Account
  try {
    const [uid, gid] = await Promise.all([ask('-u'), ask('-g')])
    account = { uid, gid }
  } catch (error) {
    throw new RelayError('RELAY_ERR_CONFIG', `${key} ${JSON.stringify(name)} is not a user of this system`, { cause: error })
  }
  if (account.uid === 0) throw new RelayError('RELAY_ERR_CONFIG', `${key} must be another user than root`)
  return account
}
