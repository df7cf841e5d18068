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

export interface CommandLine {
  readonly config: string | undefined
  readonly cachePath: string | undefined
  readonly region: string | undefined
  readonly validate: boolean
  readonly hashToken: boolean
  readonly signUrl: SignUrlCommand | undefined
  readonly help: boolean
  readonly version: boolean
}

export const USAGE = `Usage: icn-relay [options]

  --config FILE      TOML configuration (also ICN_RELAY_CONFIG)
  --cache-path DIR   directory of the cache, overrides [cache] path
  --region NAME      own region, overrides [region] override
  --validate         check the configuration, print "configuration ok", exit
  --hash-token       read a viewer token from standard input, print the form for [auth] tokens, exit
  --sign-url PATH    print PATH with its signature, exit; for a prefix (/shards/<CID>/) the query for all paths below it
    --expires-in S   seconds until the signature expires, 3600 unless given
    --viewer NAME    who it is for
    --ip ADDRESS     the one address it may be used from
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
    const { values } = parseArgs({
      args: [...args],
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

function signUrlCommand (values: { 'sign-url'?: string, 'expires-in'?: string, viewer?: string, ip?: string }): SignUrlCommand | undefined {
  const { 'sign-url': path, 'expires-in': expiresIn, viewer, ip } = values
  if (path === undefined) {
    const [alone] = (['expires-in', 'viewer', 'ip'] as const).filter(name => values[name] !== undefined)
    return alone === undefined ? undefined : fail(`--${alone} belongs to --sign-url`)
  }
  if (expiresIn !== undefined && !/^[1-9]\d{0,9}$/.test(expiresIn)) fail('--expires-in must be a number of seconds')
  return { path, expiresInSeconds: expiresIn === undefined ? EXPIRES_IN_SECONDS : Number(expiresIn), viewer, ip }
}
