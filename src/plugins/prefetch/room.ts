/** What is asked of the store on disk. */
export interface RoomSource {
  readonly maxBytes: number
  readonly usedBytes: number
  /** Entries, as far as the policy can tell the first victim first. */
  firstOut (): Iterable<{ readonly size: number, readonly lastAccess: number }>
}

/**
 * Whether so many bytes fit without anything going that a viewer used lately: into free room, or in place of the first victims of the eviction order as
 * long as none of them was used, or stored, since `usedSince`.
 * @param usedSince wall clock, ms since the epoch
 */
export function hasRoomFor (store: RoomSource, bytes: number, usedSince: number): boolean {
  let room = store.maxBytes - store.usedBytes
  if (room >= bytes) return true
  for (const { size, lastAccess } of store.firstOut()) {
    if (lastAccess >= usedSince) return false
    room += size
    if (room >= bytes) return true
  }
  return false
}
