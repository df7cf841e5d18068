import type { OpenFile } from '../../storage/disk-files.ts'

/** The temporary file of a body. */
export interface SpoolFile {
  readonly handle: OpenFile
  readonly path: string
}

/** A body on its way into the cache, as far as storing it needs. */
export interface BodySpool {
  /** Bytes of the body; final when it is stored. */
  readonly length: number
  /** The temporary file, while the disk takes what comes. */
  readonly storable: SpoolFile | undefined
  /** Waits until the disk has taken, or refused, everything that came. */
  flush (): Promise<void>
}
