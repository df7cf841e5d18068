/** A certificate and its key, as listeners of both processes serve with them. */
export interface TlsMaterial {
  /** PEM, leaf first. */
  readonly cert: string
  /** PEM, PKCS#8. */
  readonly key: string
}
