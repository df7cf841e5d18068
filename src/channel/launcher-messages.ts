/** Messages between the launcher, which is root, and the relay, over Node's IPC channel. The relay's have no parameters. */
export type ToLauncher =
  | { readonly type: 'start-gateway' }
  | { readonly type: 'kill-gateway' }

export type FromLauncher =
  /** Comes with the relay's end of the channel to it. */
  | { readonly type: 'gateway', readonly pid: number }
  | { readonly type: 'gateway-output', readonly text: string }
  | { readonly type: 'gateway-failed', readonly detail: string }
  | { readonly type: 'gateway-ended', readonly code: number | null, readonly signal: NodeJS.Signals | null }

/** Set in the environment of a relay that has a launcher. */
export const LAUNCHED = 'ICN_LAUNCHED'
