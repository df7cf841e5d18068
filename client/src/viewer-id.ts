const ID_BYTES = 16

/** 128 random bits in base64url: all sessions of one client show the same, so that the relay counts them as one viewer. */
export function newViewerId (randomBytes: (length: number) => Uint8Array): string {
  return btoa(String.fromCharCode(...randomBytes(ID_BYTES))).replaceAll('+', '-').replaceAll('/', '_').replace(/=+$/, '')
}
