/** What `tail` is asked for. */
export interface TailCommand {
  /** Of the stream of the admin API, by name. */
  readonly filter: Readonly<Record<string, string>>
  /** Whether records are printed as they come. */
  readonly json: boolean
  readonly admin: string | undefined
}

/** Options of `tail`. */
export const TAIL_OPTIONS = {
  object: { type: 'string' },
  address: { type: 'string' },
  status: { type: 'string' },
  slower: { type: 'string' },
  json: { type: 'boolean', default: false }
} as const

export interface TailValues {
  readonly object?: string
  readonly address?: string
  readonly status?: string
  readonly slower?: string
  readonly json: boolean
  readonly admin?: string
}

/** @param fail called with what is wrong, and never comes back */
export function tailCommand (positionals: readonly string[], { object, address, status, slower, json, admin }: TailValues, fail: (detail: string) => never): TailCommand {
  if (positionals.length > 0) fail('tail takes options only')
  if (status !== undefined && !/^[1-5](?:xx|[0-9]{2})$/.test(status)) fail('--status must be a status, or a hundred of them as 5xx')
  if (slower !== undefined && !/^[0-9]{1,9}$/.test(slower)) fail('--slower must be a number of milliseconds')
  const filter = { object, address, status, slowerThanMs: slower }
  return { filter: Object.fromEntries(Object.entries(filter).flatMap(([name, value]) => value === undefined ? [] : [[name, value]])), json, admin }
}
