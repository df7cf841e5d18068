/** The rooms of the floor plan. What may import what is checked by `borders.ts` from this table, and drawn by `architecture.ts` from the same. */

export interface Room {
  /** From the root. */
  readonly folder: string
  /** Which process runs it. */
  readonly runs: string
  readonly holds: string
  /** Folders of the other rooms it may import. */
  readonly imports: readonly string[]
  /** Files of the rooms of others that it may import besides, as a pattern, and in words. */
  readonly besides?: { readonly files: string, readonly shown: string }
  /** Files of it, as a pattern of their names, that may import more. */
  readonly except?: { readonly files: string, readonly shown: string, readonly imports: readonly string[] }
}

/** What both processes stand on. */
const COMMON = ['src/base', 'src/protocol', 'src/admission', 'src/storage', 'src/pacing', 'src/channel'] as const

export const ROOMS: readonly Room[] = [
  {
    folder: 'src/launcher',
    runs: 'launcher',
    holds: 'the program while it is root, when it is started so: starts the relay and its gateway as other users, and passes signals on',
    imports: ['src/base', 'src/config', 'src/channel', 'src/spawn']
  },
  {
    folder: 'src/cli',
    runs: 'relay',
    holds: 'what runs before the relay starts: arguments, the commands that print and end, checks',
    imports: ['src/base', 'src/admission', 'src/config', 'src/plugins']
  },
  {
    folder: 'src/config',
    runs: 'relay',
    holds: 'the schema of every key, composed of those of the concerns; loading, units, validation',
    imports: ['src/base', 'src/protocol', 'src/admission'],
    besides: { files: 'src/plugins/[^/]+/config\\.ts', shown: 'src/plugins/*/config.ts' }
  },
  {
    folder: 'src/plugins',
    runs: 'relay',
    holds: 'a folder for each concern: `index.ts` wires it into Fastify, `routes.ts` is its part of the admin API, `config.ts` and `metrics.ts` are its keys and metrics, the rest is plain TypeScript; `http/` is the instance that both listeners are',
    imports: ['src/config', 'src/spawn', ...COMMON]
  },
  {
    folder: 'src/gateway',
    runs: 'gateway',
    holds: 'the gateway process: sessions, transports',
    imports: ['src/quinn', ...COMMON]
  },
  {
    folder: 'src/spawn',
    runs: 'launcher or relay',
    holds: 'how a gateway process is started: its command, its permissions, its descriptors',
    imports: ['src/base', 'src/channel']
  },
  {
    folder: 'src/channel',
    runs: 'relay and gateway',
    holds: 'what the processes say to each other, and the checks of it',
    imports: ['src/base', 'src/protocol', 'src/admission', 'src/pacing'],
    besides: { files: 'src/config/schema\\.ts', shown: 'the types of src/config/schema.ts' }
  },
  {
    folder: 'src/admission',
    runs: 'relay and gateway',
    holds: 'who is let in: tokens, tickets, limits by address',
    imports: ['src/base', 'src/protocol']
  },
  {
    folder: 'src/storage',
    runs: 'relay and gateway',
    holds: 'leased memory and files',
    imports: ['src/base']
  },
  {
    folder: 'src/pacing',
    runs: 'relay and gateway',
    holds: 'the fair-share scheduler, and what a viewer is told of its share',
    imports: ['src/base']
  },
  {
    folder: 'client/src',
    runs: 'viewers: browsers and Node',
    holds: 'the client library, the package `icn-relay-client`; what only Node loads of it is `node*.ts`',
    imports: ['src/base', 'src/protocol'],
    except: { files: 'node[^/]*\\.ts$', shown: 'node*.ts', imports: ['src/quinn'] }
  },
  {
    folder: 'src/quinn',
    runs: 'gateway and clients in Node',
    holds: 'the HTTP/3 engine: finding, loading and mending it, its sessions and streams',
    imports: ['src/base', 'src/protocol']
  },
  {
    folder: 'src/protocol',
    runs: 'relay, gateway and clients',
    holds: 'what all of them agree on: keys, ranges, conditions, heads, digests, control messages, codes, sessions',
    imports: ['src/base']
  },
  {
    folder: 'src/base',
    runs: 'relay, gateway and clients',
    holds: 'errors, clock, log and other small things without opinions',
    imports: []
  }
]

/** Files of `src` that stand in no room: they put the relay together. */
export const ENTRY = 'src/(?:app|server|start)\\.c?ts'

/** A file that crosses a border today. */
export interface Exception {
  /** Name of the rule in `borders.ts`. */
  readonly rule: string
  readonly file: string
  readonly why: string
}

export const EXCEPTIONS: readonly Exception[] = [
  { rule: 'fastify', file: 'src/plugins/viewer-http/viewer-docs.ts', why: 'types only: what a route of the viewer listener may say of itself for `openapi.yaml`' }
]
