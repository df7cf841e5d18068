import { checkStart } from '../start-check.ts'
import { command } from '../command.ts'
import { hashToken, signedUrl, type SignUrlRequest } from '../tokens.ts'

/** The exit code that means nothing has ended: a relay is to be run. */
export const RUNS = -1

/** One hour: a video and a break. */
const EXPIRES_IN_SECONDS = 3_600

interface RunRequest {
  readonly validate: boolean
  readonly hashToken: boolean
  readonly signUrl: SignUrlRequest | undefined
}

/** The program without a command. */
export const relay = command({
  name: 'icn-relay',
  summary: 'run a relay',
  options: {
    validate: { says: 'check the configuration, print "configuration ok", exit' },
    'hash-token': { says: 'read a viewer token from standard input, print the form for [auth] tokens, exit' },
    'sign-url': { value: 'PATH', says: 'print PATH with its signature, exit; for a prefix (/shards/<CID>/) the query for all paths below it' },
    'expires-in': { value: 'S', says: 'seconds until the signature expires, 3600 unless given', mustBe: [/^[1-9]\d{0,9}$/, 'a number of seconds'], of: 'sign-url' },
    viewer: { value: 'NAME', says: 'who it is for', of: 'sign-url' },
    ip: { value: 'ADDRESS', says: 'the one address it may be used from', of: 'sign-url' }
  },
  take: ({ validate, 'hash-token': hash, 'sign-url': path, 'expires-in': expiresIn = String(EXPIRES_IN_SECONDS), viewer, ip }): RunRequest =>
    ({ validate, hashToken: hash, signUrl: path === undefined ? undefined : { path, expiresInSeconds: Number(expiresIn), viewer, ip } }),
  run: async ({ validate, hashToken: hash, signUrl }, { input, settings, write, now }) => {
    if (hash) await write(`${await hashToken(input)}\n`)
    else if (signUrl !== undefined) await write(`${await signedUrl(settings(), signUrl, now())}\n`)
    else if (validate) {
      await checkStart(settings())
      await write('configuration ok\n')
    } else return RUNS
    return 0
  }
})
