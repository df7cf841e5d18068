/** While the bandwidth of a viewer is limited, its reads together ask for what its share carries in this time, ms: 20 KB at 1.66 Mbit/s, and a share that falls is felt within two reads. */
export const PACED_READ_MS = 100
/** Three packets: the smallest read then, bytes. */
export const MIN_PACED_BYTES = 4 * 1024

/**
 * Bytes that one read of a viewer asks for.
 * @param shareBps what the viewer has, bits per second
 * @param responses that share it
 */
export function pacedReadBytes (shareBps: number, responses: number): number {
  return Math.max(MIN_PACED_BYTES, Math.floor(shareBps / 8 * PACED_READ_MS / 1_000 / Math.max(1, responses)))
}
