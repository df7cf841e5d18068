/** Who is at fault for an error; decides the log level and which counter it lands in. */
export type ErrorSource = 'viewer' | 'operator' | 'upstream' | 'cache' | 'internal'

interface ErrorSpec {
  /** HTTP status sent to the client that meets this error. */
  readonly status: number
  /** Whether the same request may succeed later without being changed. */
  readonly retryable: boolean
  readonly source: ErrorSource
  /** RFC 9457 `title`: the same words for every occurrence of the code. */
  readonly title: string
}

/** Every error code of the relay. `docs/operations.md` lists them; a test holds the two together. */
export const ERRORS = {
  RELAY_ERR_SHARD_PATH: { status: 400, retryable: false, source: 'viewer', title: 'Malformed shard path' },
  RELAY_ERR_BAD_REQUEST: { status: 400, retryable: false, source: 'viewer', title: 'Malformed request' },
  RELAY_ERR_RANGE_SYNTAX: { status: 400, retryable: false, source: 'viewer', title: 'Malformed range' },
  RELAY_ERR_RANGE_UNSATISFIABLE: { status: 416, retryable: false, source: 'viewer', title: 'Range not satisfiable' },
  RELAY_ERR_NOT_FOUND: { status: 404, retryable: false, source: 'viewer', title: 'No such resource' },
  RELAY_ERR_METHOD: { status: 405, retryable: false, source: 'viewer', title: 'Method not allowed' },
  RELAY_ERR_BODY_TOO_LARGE: { status: 413, retryable: false, source: 'viewer', title: 'Request body too large' },
  RELAY_ERR_MEDIA_TYPE: { status: 415, retryable: false, source: 'viewer', title: 'Unsupported media type' },
  RELAY_ERR_HEADERS_TOO_LARGE: { status: 431, retryable: false, source: 'viewer', title: 'Request header fields too large' },
  RELAY_ERR_REQUEST_TIMEOUT: { status: 408, retryable: true, source: 'viewer', title: 'Request not received in time' },
  RELAY_ERR_VIEWER_UNAUTHORIZED: { status: 401, retryable: false, source: 'viewer', title: 'Missing or wrong viewer token' },
  RELAY_ERR_VIEWER_TOKEN_EXPIRED: { status: 401, retryable: false, source: 'viewer', title: 'Viewer token has expired' },
  RELAY_ERR_VIEWER_TOKEN_EARLY: { status: 401, retryable: true, source: 'viewer', title: 'Viewer token is not valid yet' },
  RELAY_ERR_VIEWER_SCOPE: { status: 403, retryable: false, source: 'viewer', title: 'Viewer token is not for this object' },
  RELAY_ERR_VIEWER_NETWORK: { status: 403, retryable: false, source: 'viewer', title: 'Viewers of this network are not served here' },
  RELAY_ERR_VIEWER_VERIFIER_BUSY: { status: 503, retryable: true, source: 'viewer', title: 'Too many viewer tokens are being checked' },
  RELAY_ERR_RATE_LIMITED: { status: 429, retryable: true, source: 'viewer', title: 'Too many requests' },
  RELAY_ERR_SHARD_NOT_FOUND: { status: 404, retryable: false, source: 'upstream', title: 'No super-node has this object' },
  RELAY_ERR_DENIED: { status: 451, retryable: false, source: 'operator', title: 'Object must not be served here' },
  RELAY_ERR_NOT_CACHED: { status: 504, retryable: true, source: 'viewer', title: 'Object is not in the cache' },
  RELAY_ERR_UPSTREAM_UNREACHABLE: { status: 502, retryable: true, source: 'upstream', title: 'No super-node could be reached' },
  RELAY_ERR_UPSTREAM_TIMEOUT: { status: 504, retryable: true, source: 'upstream', title: 'No super-node answered in time' },
  RELAY_ERR_UPSTREAM_STATUS: { status: 502, retryable: true, source: 'upstream', title: 'Super-node answered with an error' },
  RELAY_ERR_UPSTREAM_BUSY: { status: 503, retryable: true, source: 'upstream', title: 'Super-node asks to come back later' },
  RELAY_ERR_UPSTREAM_RATE_LIMITED: { status: 429, retryable: true, source: 'upstream', title: 'Super-node limits our requests' },
  RELAY_ERR_UPSTREAM_PROTOCOL: { status: 502, retryable: true, source: 'upstream', title: 'Super-node does not speak the protocol it is asked in' },
  RELAY_ERR_UPSTREAM_VERSION: { status: 502, retryable: true, source: 'upstream', title: 'Super-nodes have different bytes for the object' },
  RELAY_ERR_UPSTREAM_BODY: { status: 502, retryable: true, source: 'upstream', title: 'Super-node body ended early or broke' },
  RELAY_ERR_UPSTREAM_CORRUPT: { status: 502, retryable: true, source: 'upstream', title: 'Super-node body does not match its digest' },
  RELAY_ERR_UNVERIFIED: { status: 502, retryable: true, source: 'upstream', title: 'No manifest vouches for the object' },
  RELAY_ERR_UPSTREAM_TOO_LARGE: { status: 502, retryable: false, source: 'upstream', title: 'Super-node object exceeds the size cap' },
  RELAY_ERR_LOOP: { status: 508, retryable: false, source: 'operator', title: 'Request goes in circles' },
  RELAY_ERR_FILLS_BUSY: { status: 503, retryable: true, source: 'upstream', title: 'Too many cache fills in progress' },
  RELAY_ERR_JOBS_BUSY: { status: 503, retryable: true, source: 'operator', title: 'Too many jobs wait already' },
  RELAY_ERR_PIN_QUOTA: { status: 409, retryable: false, source: 'operator', title: 'Pins have no room for this' },
  RELAY_ERR_JOB_STATE: { status: 409, retryable: false, source: 'operator', title: 'Job is not in a state for that' },
  RELAY_ERR_EVENTS_BUSY: { status: 503, retryable: true, source: 'operator', title: 'Too many listen to events already' },
  RELAY_ERR_OVERLOADED: { status: 503, retryable: true, source: 'internal', title: 'Relay is overloaded' },
  RELAY_ERR_LOCAL_LACK: { status: 503, retryable: true, source: 'internal', title: 'Relay is short of descriptors or memory' },
  RELAY_ERR_GATEWAY: { status: 503, retryable: true, source: 'internal', title: 'Gateway process not available' },
  RELAY_ERR_STARTING: { status: 503, retryable: true, source: 'internal', title: 'Relay is starting' },
  RELAY_ERR_STOPPING: { status: 503, retryable: true, source: 'internal', title: 'Relay is stopping' },
  RELAY_ERR_CACHE_READ: { status: 500, retryable: true, source: 'cache', title: 'Cached object could not be read' },
  RELAY_ERR_CACHE_PATH: { status: 500, retryable: false, source: 'operator', title: 'Cache path cannot be used' },
  RELAY_ERR_MANIFEST: { status: 400, retryable: false, source: 'operator', title: 'Malformed cache manifest' },
  RELAY_ERR_CONFIG: { status: 500, retryable: false, source: 'operator', title: 'Invalid configuration' },
  RELAY_ERR_CONFIG_REFUSED: { status: 422, retryable: false, source: 'operator', title: 'New configuration was refused' },
  RELAY_ERR_LISTEN: { status: 500, retryable: false, source: 'operator', title: 'Address cannot be listened on' },
  RELAY_ERR_ADMIN_UNAUTHORIZED: { status: 401, retryable: false, source: 'operator', title: 'Missing or wrong admin token' },
  RELAY_ERR_ADMIN_SCOPE: { status: 403, retryable: false, source: 'operator', title: 'Admin token lacks the needed scope' },
  RELAY_ERR_PRECONDITION: { status: 412, retryable: false, source: 'operator', title: 'Settings have changed meanwhile' },
  RELAY_ERR_ADMIN_LOOPBACK: { status: 403, retryable: false, source: 'operator', title: 'Admin API answers on loopback only until a token is configured' },
  RELAY_ERR_INTERNAL: { status: 500, retryable: true, source: 'internal', title: 'Internal error' }
} as const satisfies Record<string, ErrorSpec>

export type ErrorCode = keyof typeof ERRORS

/** An error with a stable code; translated to a status or a stream reset once, at the surface that met it. */
export class RelayError extends Error {
  override readonly name = 'RelayError'
  readonly code: ErrorCode
  /** For `retry-after`; undefined leaves it to the surface. */
  readonly retryAfterSeconds: number | undefined
  /** For `www-authenticate` (RFC 6750 §3). */
  readonly challenge: string | undefined

  /** @param detail what was wrong with this very request, safe to show to the client: no secrets, no paths of the host */
  constructor (code: ErrorCode, detail: string, options?: ErrorOptions & { readonly retryAfterSeconds?: number | undefined, readonly challenge?: string | undefined }) {
    super(detail, options)
    this.code = code
    this.retryAfterSeconds = options?.retryAfterSeconds
    this.challenge = options?.challenge
  }

  get status (): number { return ERRORS[this.code].status }
  get retryable (): boolean { return ERRORS[this.code].retryable }
  get source (): ErrorSource { return ERRORS[this.code].source }
}

/** An RFC 9457 problem document. */
export interface Problem {
  readonly type: string
  readonly title: string
  readonly status: number
  readonly detail: string
  readonly code: ErrorCode
  readonly retryable: boolean
}

/** The one translation from an error to what a client sees. Unknown errors never show their text. */
export function toProblem (error: unknown): Problem {
  const known = error instanceof RelayError ? error : new RelayError('RELAY_ERR_INTERNAL', 'unexpected error; see the relay log')
  return {
    type: `urn:icn-relay:error:${known.code}`,
    title: ERRORS[known.code].title,
    status: known.status,
    detail: known.message,
    code: known.code,
    retryable: known.retryable
  }
}

/** The relay or its host is short of something: descriptors, memory, ports, threads that a hanging disk holds. */
const LOCAL_LACKS: ReadonlySet<string | undefined> = new Set(['EMFILE', 'ENFILE', 'ENOMEM', 'ENOBUFS', 'ENOSPC', 'EADDRNOTAVAIL', 'HUNG'])

/** Whether an error says nothing of whom or what was asked, because the question never left; our own error for that is one too. */
export function isLocalLack (error: unknown): boolean {
  const code = systemCode(error)
  return code === 'RELAY_ERR_LOCAL_LACK' || LOCAL_LACKS.has(code)
}

/** The `code` of a Node system error (`ENOENT`, `ECONNREFUSED`, …), or undefined. */
export function systemCode (error: unknown): string | undefined {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : undefined
}
