/** When the releases ended that a relay still starts on, by major version; nodejs.org/en/about/previous-releases. */
const ENDED: ReadonlyMap<string, string> = new Map([['20', 'April 2026'], ['21', 'June 2024'], ['23', 'June 2025'], ['25', 'June 2026']])

/** What to say once about a Node that gets no security fixes any more, nothing about any other. @param version as of `process.versions.node` */
export function endOfNode (version: string): string | undefined {
  const [major = ''] = version.split('.', 1)
  const ended = ENDED.get(major)
  return ended === undefined ? undefined : `Node ${version} has had no security fixes since ${ended}: use Node 24 or 22`
}
