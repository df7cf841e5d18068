import { parseArgs } from 'node:util'
import { RelayError } from '../base/errors.ts'

/** What `--sign-url` is asked for. */
export interface SignUrlCommand {
  /** A shard path, or a prefix that ends with a slash. */
  readonly path: string
  readonly expiresInSeconds: number
  readonly viewer: string | undefined
  readonly ip: string | undefined
}

/** What `repair` is asked for. */
export interface RepairCommand {
  readonly cid: string
  /** Where the admin API of the relay is; as configured without it. */
  readonly admin: string | undefined
}

export interface CommandLine {
  readonly config: string | undefined
  readonly cachePath: string | undefined
  readonly region: string | undefined
  readonly validate: boolean
  readonly hashToken: boolean
  readonly signUrl: SignUrlCommand | undefined
  readonly repair: RepairCommand | undefined
  readonly help: boolean
  readonly version: boolean
}

export const USAGE = `Usage: icn-relay [options]
       icn-relay repair CID [--admin URL] [options]

  --config FILE      TOML configuration (also ICN_RELAY_CONFIG)
  --cache-path DIR   directory of the cache, overrides [cache] path
  --region NAME      own region, overrides [region] override
  --validate         check the configuration, print "configuration ok", exit
  --hash-token       read a viewer token from standard input, print the form for [auth] tokens, exit
  --sign-url PATH    print PATH with its signature, exit; for a prefix (/shards/<CID>/) the query for all paths below it
    --expires-in S   seconds until the signature expires, 3600 unless given
    --viewer NAME    who it is for
    --ip ADDRESS     the one address it may be used from
  repair CID         have the running relay of this configuration check and restore all shards of a video, print progress, exit
    --admin URL      where its admin API is, if not where the configuration says
  --help             print this text
  --version          print the version

Every key is also an environment variable: [cache] max_bytes is ICN_RELAY_CACHE_MAX_BYTES; lists are written as JSON.
Command line beats environment, environment beats file. docs/operations.md lists every key.
`

/** One hour: a video and a break. */
const EXPIRES_IN_SECONDS = 3_600

function fail (detail: string): never {
  throw new RelayError('RELAY_ERR_CONFIG', `command line: ${detail}; see --help`)
}

/** @throws RelayError RELAY_ERR_CONFIG naming the argument */
export function parseCommandLine (args: readonly string[]): CommandLine {
  try {
    const repairs = args[0] === 'repair'
    const { values } = parseArgs({
      args: args.slice(repairs ? 2 : 0),
      strict: true,
      allowPositionals: false,
      options: {
        config: { type: 'string' },
        'cache-path': { type: 'string' },
        region: { type: 'string' },
        validate: { type: 'boolean', default: false },
        'hash-token': { type: 'boolean', default: false },
        'sign-url': { type: 'string' },
        'expires-in': { type: 'string' },
        viewer: { type: 'string' },
        ip: { type: 'string' },
        admin: { type: 'string' },
        help: { type: 'boolean', short: 'h', default: false },
        version: { type: 'boolean', short: 'v', default: false }
      }
    })
    return {
      config: values.config,
      cachePath: values['cache-path'],
      region: values.region,
      validate: values.validate,
      hashToken: values['hash-token'],
      signUrl: signUrlCommand(values),
      repair: repairCommand(repairs, args[1], values.admin),
      help: values.help,
      version: values.version
    }
  } catch (error) {
    if (error instanceof RelayError) throw error
    // Node would repeat the argument, and here that is a token.
    if (args.some(argument => argument.startsWith('--hash-token'))) return fail('--hash-token takes no argument: it reads the token from standard input')
    return fail(error instanceof Error ? error.message.split(/\.?\s*\n|\. |\.$/)[0] ?? '' : String(error))
  }
}

function repairCommand (repairs: boolean, cid: string | undefined, admin: string | undefined): RepairCommand | undefined {
  if (!repairs) return admin === undefined ? undefined : fail('--admin belongs to repair')
  if (cid === undefined || !/^[A-Za-z0-9_-]{1,128}$/.test(cid)) return fail('repair takes a CID: 1 to 128 of A-Z a-z 0-9 _ -')
  if (admin !== undefined && !/^https?:\/\//.test(admin)) fail('--admin must be a URL, http or https')
  return { cid, admin }
}

function signUrlCommand (values: { 'sign-url'?: string, 'expires-in'?: string, viewer?: string, ip?: string }): SignUrlCommand | undefined {
  const { 'sign-url': path, 'expires-in': expiresIn, viewer, ip } = values
  if (path === undefined) {
    const [alone] = (['expires-in', 'viewer', 'ip'] as const).filter(name => values[name] !== undefined)
    return alone === undefined ? undefined : fail(`--${alone} belongs to --sign-url`)
  }
  if (expiresIn !== undefined && !/^[1-9]\d{0,9}$/.test(expiresIn)) fail('--expires-in must be a number of seconds')
  return { path, expiresInSeconds: expiresIn === undefined ? EXPIRES_IN_SECONDS : Number(expiresIn), viewer, ip }
}
