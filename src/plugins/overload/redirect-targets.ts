export interface RedirectSettings {
  /** Other relays. */
  readonly alternates: readonly string[]
  readonly redirect_to_super_nodes: boolean
}

/** Base URLs that new sessions are sent to while the relay sheds load. @param nearest URL of the nearest super-node that is up */
export function redirectTargets ({ alternates, redirect_to_super_nodes: toSuperNodes }: RedirectSettings, nearest: () => string | undefined): readonly string[] {
  if (alternates.length > 0 || !toSuperNodes) return alternates
  const url = nearest()
  return url === undefined ? [] : [url]
}
