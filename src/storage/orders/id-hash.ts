/** 30 bits of an id, which V8 keeps without memory of their own; what is remembered by them may be another's once in a thousand, among a million. */
export function idHash (id: string): number {
  let hash = 0x811c9dc5
  for (let n = 0; n < id.length; n++) hash = Math.imul(hash ^ id.charCodeAt(n), 0x01000193)
  return mixed(hash) >>> 2
}

/** The bits of a number, each depending on all. */
export function mixed (bits: number): number {
  let hash = Math.imul(bits ^ (bits >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return hash ^ (hash >>> 16)
}
