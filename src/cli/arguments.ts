import { parseArgs } from 'node:util'
import { RelayError } from '../base/errors.ts'
import { TAIL_OPTIONS, tailCommand, type TailCommand } from './tail-arguments.ts'

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

/** What `warm` is asked for: videos by their CIDs, or one by the URL of its manifest. */
export interface WarmCommand {
  readonly cids: readonly string[]
  readonly manifest: string | undefined
  readonly parity: boolean
  /** Objects at the same time; as configured at the relay without it. */
  readonly concurrency: number | undefined
  readonly admin: string | undefined
}

/** What `block` and `unblock` are asked for. */
export interface BlockCommand {
  /** Whether the entries are taken off the denylist. */
  readonly undo: boolean
  /** As they stand in a denylist. */
  readonly entries: readonly string[]
  readonly reason: string
  readonly admin: string | undefined
}

/** What `purge` is asked for: exactly one of the first four. */
export interface PurgeCommand {
  readonly cids: readonly string[]
  readonly prefix: string | undefined
  readonly tag: string | undefined
  readonly all: boolean
  readonly soft: boolean
  readonly admin: string | undefined
}

/** What `reload` is asked for. */
export interface ReloadCommand {
  readonly admin: string | undefined
}

/** What `doctor` is asked for. */
export interface DoctorCommand {
  readonly json: boolean
}

export interface CommandLine {
  readonly config: string | undefined
  readonly cachePath: string | undefined
  readonly region: string | undefined
  readonly validate: boolean
  readonly hashToken: boolean
  readonly signUrl: SignUrlCommand | undefined
  readonly repair: RepairCommand | undefined
  readonly warm: WarmCommand | undefined
  readonly block: BlockCommand | undefined
  readonly purge: PurgeCommand | undefined
  readonly tail: TailCommand | undefined
  readonly reload: ReloadCommand | undefined
  readonly doctor: DoctorCommand | undefined
  readonly help: boolean
  readonly version: boolean
}

export const USAGE = `Usage: icn-relay [options]
       icn-relay repair CID [--admin URL] [options]
       icn-relay warm CID… | MANIFEST-URL [--parity] [--concurrency N] [--admin URL] [options]
       icn-relay block | unblock ENTRY… [--reason TEXT] [--admin URL] [options]
       icn-relay purge CID… | --prefix PREFIX | --tag TAG | --all [--soft] [--admin URL] [options]
       icn-relay tail [--object CID] [--address IP] [--status 5xx] [--slower MS] [--json] [--admin URL] [options]
       icn-relay reload [--admin URL] [options]
       icn-relay doctor [--json] [options]

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
  warm CID…          have it bring videos into its cache before viewers ask, print progress, exit; the job goes on when this program is ended
    --parity         parity shards too
    --concurrency N  objects at the same time
    --admin URL      as above
  block ENTRY…       have it serve no more of these, from now on and over restarts, exit; an entry is a CID, a prefix and *, or //SHA-256
    --reason TEXT    for whoever asks later
    --admin URL      as above
  unblock ENTRY…     take them off its denylist, exit
  purge CID…         have it evict all objects of these videos, exit
    --prefix PREFIX  of all videos whose CIDs begin so
    --tag TAG        of all videos with a tag, from their manifests or from warm jobs
    --all            of all videos
    --soft           have it serve them until it has fetched them again
    --admin URL      as above
  tail               print its responses as they end, until it ends or this program is ended
    --object CID     of one video, or of one object of it, CID/PART
    --address IP     of one viewer
    --status 5xx     with a status, or a hundred of them
    --slower MS      that took longer
    --json           as records of the access log
    --admin URL      as above
  reload             have it read its configuration again, print what has changed, exit; with code 1 when it is refused and nothing has
    --admin URL      as above
  doctor             look at what a relay with this configuration needs: settings, machine, disk, ports, certificate, super-nodes, clock; say what to do; with code 1 when it would not work
    --json           as JSON
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
    const command = COMMANDS.find(name => name === args[0])
    const takesMany = command !== undefined && command !== 'repair' && command !== 'reload' && command !== 'doctor'
    const { values, positionals } = parseArgs({
      args: args.slice(command === undefined ? 0 : command === 'repair' ? 2 : 1),
      strict: true,
      allowPositionals: takesMany,
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
        parity: { type: 'boolean', default: false },
        concurrency: { type: 'string' },
        reason: { type: 'string' },
        prefix: { type: 'string' },
        tag: { type: 'string' },
        all: { type: 'boolean', default: false },
        soft: { type: 'boolean', default: false },
        ...TAIL_OPTIONS,
        help: { type: 'boolean', short: 'h', default: false },
        version: { type: 'boolean', short: 'v', default: false }
      }
    })
    checkOptions(command, values)
    return {
      config: values.config,
      cachePath: values['cache-path'],
      region: values.region,
      validate: values.validate,
      hashToken: values['hash-token'],
      signUrl: signUrlCommand(values),
      repair: command === 'repair' ? repairCommand(args[1], values.admin) : undefined,
      warm: command === 'warm' ? warmCommand(positionals, values) : undefined,
      block: command === 'block' || command === 'unblock' ? blockCommand(command === 'unblock', positionals, values) : undefined,
      purge: command === 'purge' ? purgeCommand(positionals, values) : undefined,
      tail: command === 'tail' ? tailCommand(positionals, values, fail) : undefined,
      reload: command === 'reload' ? { admin: values.admin } : undefined,
      doctor: command === 'doctor' ? { json: values.json } : undefined,
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

/** What a running relay is asked for. */
const COMMANDS = ['repair', 'warm', 'block', 'unblock', 'purge', 'tail', 'reload', 'doctor'] as const
type CommandName = typeof COMMANDS[number]

interface CommandValues {
  readonly admin?: string
  readonly parity: boolean
  readonly concurrency?: string
  readonly reason?: string
  readonly prefix?: string
  readonly tag?: string
  readonly all: boolean
  readonly soft: boolean
}

const isCid = (text: string): boolean => /^[A-Za-z0-9_-]{1,128}$/.test(text)
const isUrl = (text: string): boolean => /^https?:\/\//.test(text)
const CID_HINT = '1 to 128 of A-Z a-z 0-9 _ -'

/** The commands beside which an option may stand; one that is not here stands beside any, and alone. */
const COMMANDS_OF = {
  admin: ['repair', 'warm', 'block', 'unblock', 'purge', 'tail', 'reload'],
  parity: ['warm'],
  concurrency: ['warm'],
  reason: ['block', 'unblock'],
  prefix: ['purge'],
  tag: ['purge'],
  all: ['purge'],
  soft: ['purge'],
  object: ['tail'],
  address: ['tail'],
  status: ['tail'],
  slower: ['tail'],
  json: ['tail', 'doctor']
} as const satisfies Record<string, readonly CommandName[]>

const inWords = new Intl.ListFormat('en-GB')

function checkOptions (command: CommandName | undefined, values: Readonly<Partial<Record<keyof typeof COMMANDS_OF, string | boolean>>>): void {
  for (const [option, commands] of Object.entries<readonly CommandName[]>(COMMANDS_OF)) {
    const value = values[option as keyof typeof COMMANDS_OF]
    if (value === undefined || value === false || (command !== undefined && commands.includes(command))) continue
    fail(`--${option} belongs to ${inWords.format(commands)}`)
  }
  if (typeof values.admin === 'string' && !isUrl(values.admin)) fail('--admin must be a URL, http or https')
}

function repairCommand (cid: string | undefined, admin: string | undefined): RepairCommand {
  return cid !== undefined && isCid(cid) ? { cid, admin } : fail(`repair takes a CID: ${CID_HINT}`)
}

function blockCommand (undo: boolean, entries: readonly string[], { reason = '', admin }: CommandValues): BlockCommand {
  if (entries.length === 0 || entries.length > 1_000) return fail(`${undo ? 'unblock' : 'block'} takes 1 to 1,000 entries: CIDs, prefixes with *, or // and a SHA-256`)
  if (reason.length > 200) fail('--reason has at most 200 characters')
  return { undo, entries, reason, admin }
}

function purgeCommand (cids: readonly string[], { prefix, tag, all, soft, admin }: CommandValues): PurgeCommand {
  const named = [cids.length > 0, prefix !== undefined, tag !== undefined, all].filter(Boolean).length
  if (named !== 1 || cids.length > 1_000 || !cids.every(isCid)) return fail(`purge takes 1 to 1,000 CIDs, each ${CID_HINT}, or one of --prefix, --tag and --all`)
  if (prefix !== undefined && !isCid(prefix.replace(/\*$/, ''))) fail(`--prefix must be ${CID_HINT}`)
  if (tag !== undefined && !/^[A-Za-z0-9._:-]{1,64}$/.test(tag)) fail('--tag must be 1 to 64 of A-Z a-z 0-9 . _ : -')
  return { cids, prefix, tag, all, soft, admin }
}

function warmCommand (named: readonly string[], { parity, concurrency, admin }: CommandValues): WarmCommand {
  const [first = ''] = named
  const manifest = named.length === 1 && isUrl(first) ? first : undefined
  if (named.length === 0 || (manifest === undefined && !named.every(isCid))) return fail(`warm takes CIDs, each ${CID_HINT}, or the URL of one manifest`)
  if (concurrency !== undefined && !/^(?:[1-9]|1[0-6])$/.test(concurrency)) fail('--concurrency must be 1 to 16')
  return { cids: manifest === undefined ? named : [], manifest, parity, concurrency: concurrency === undefined ? undefined : Number(concurrency), admin }
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
