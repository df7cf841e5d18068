import type { RelayError } from '../../base/errors.ts'

/** One object that a viewer has open. */
export class OpenObject {
  readonly cid: string
  #revoked: RelayError | undefined
  #listener: (error: RelayError) => void = () => {}

  constructor (cid: string) {
    this.cid = cid
  }

  /** @throws RelayError once it may not be read any more */
  throwIfRevoked (): void {
    if (this.#revoked !== undefined) throw this.#revoked
  }

  /** @param listener told once, also of what has happened already */
  whenRevoked (listener: (error: RelayError) => void): void {
    if (this.#revoked !== undefined) listener(this.#revoked)
    this.#listener = listener
  }

  revoke (error: RelayError): void {
    if (this.#revoked !== undefined) return
    this.#revoked = error
    this.#listener(error)
  }
}

/** The objects that viewers have open, as many as they have responses. */
export class OpenObjects {
  readonly #open = new Set<OpenObject>()

  add (cid: string): OpenObject {
    const object = new OpenObject(cid)
    this.#open.add(object)
    return object
  }

  remove (object: OpenObject): void {
    this.#open.delete(object)
  }

  /** Nobody may read on of those whose CIDs match. */
  revoke (matches: (cid: string) => boolean, error: RelayError): void {
    for (const object of [...this.#open]) if (matches(object.cid)) object.revoke(error)
  }
}
