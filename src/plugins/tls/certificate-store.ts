import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { RelayError } from '../../base/errors.ts'
import { keepBeside } from '../../base/replace-file.ts'
import { WatchedFiles } from '../../base/watched-files.ts'
import type { TlsMaterial } from '../../channel/tls-material.ts'
import { check, loadConfigured, loadKept, saveKept, type LoadedCertificate } from './certificate-files.ts'
import { nextAction } from './renewal.ts'
import { certificateHash, coversHosts, createSelfSigned, PINNED_MAX_VALIDITY_MS } from './self-signed.ts'

/** Renewal is looked at this often at least: a timer does not advance while a machine sleeps. */
const RECHECK_MS = 3_600_000

export interface CertificateHash {
  readonly algorithm: 'sha-256'
  /** Base64 of the SHA-256 of the DER form. */
  readonly value: string
}

export interface CertificateStoreOptions {
  /** PEM files of the operator; both or neither. Empty means self-signed. */
  readonly certFile: string
  readonly keyFile: string
  /** Where self-signed pairs are kept; created with mode 0700. */
  readonly directory: string
  /** Names and addresses a self-signed certificate is for, besides loopback. */
  readonly hosts: readonly string[]
  /** Polling interval for configured files, milliseconds. */
  readonly watchIntervalMs?: number
}

export interface CertificateStoreDeps {
  /** Wall clock, milliseconds since the epoch. */
  readonly now: () => number
  readonly log: (level: 'info' | 'warn' | 'error', message: string, fields?: Record<string, unknown>) => void
  /** Calls back once after `ms`; the returned function cancels. Defaults to an unref'd timer. */
  readonly after?: (ms: number, callback: () => void) => () => void
}

export interface CertificateStore {
  readonly source: 'configured' | 'self-signed'
  /** What new handshakes use. */
  current (): TlsMaterial
  /** Until when that is valid, ms since the epoch. */
  readonly notAfter: number
  /** Hashes browsers may pin: current, then next once it exists. Empty when the certificate is not one that can be pinned. */
  hashes (): CertificateHash[]
  /** Called after the current certificate or the list of hashes changed; returns the way to unsubscribe. */
  onChange (listener: (material: TlsMaterial, hashes: CertificateHash[]) => void): () => void
  /** Looks at the files again now, as on SIGHUP; a bad new pair is logged and the old one stays. Never rejects. */
  reload (): Promise<void>
  /**
   * Reads another pair of files, which the returned function puts in the place of this one; a self-signed pair has none, and stays.
   * @throws RelayError RELAY_ERR_CONFIG naming the file that is missing or wrong
   */
  prepare (certFile: string, keyFile: string): Promise<() => void>
  close (): Promise<void>
}

const afterTimeout = (ms: number, callback: () => void): (() => void) => {
  const timer = setTimeout(callback, ms)
  timer.unref()
  return () => { clearTimeout(timer) }
}

/**
 * Opens the certificate of this relay: configured files, watched, or a self-signed pair that renews itself.
 * @throws RelayError RELAY_ERR_CONFIG when configured files are missing, unreadable, not PEM or do not belong together
 */
export async function openCertificateStore (options: CertificateStoreOptions, deps: CertificateStoreDeps): Promise<CertificateStore> {
  if ((options.certFile === '') !== (options.keyFile === '')) {
    throw new RelayError('RELAY_ERR_CONFIG', 'tls.cert and tls.key are both set or both empty')
  }
  const store = options.certFile === '' ? new SelfSignedStore(options, deps) : new ConfiguredStore(options, deps)
  await store.open()
  return store
}

abstract class BaseStore implements CertificateStore {
  abstract readonly source: 'configured' | 'self-signed'
  protected readonly options: CertificateStoreOptions
  protected readonly deps: CertificateStoreDeps
  protected loaded: LoadedCertificate | undefined
  protected closed = false
  readonly #listeners = new Set<(material: TlsMaterial, hashes: CertificateHash[]) => void>()
  #work: Promise<void> = Promise.resolve()

  constructor (options: CertificateStoreOptions, deps: CertificateStoreDeps) {
    this.options = options
    this.deps = deps
  }

  abstract open (): Promise<void>
  abstract hashes (): CertificateHash[]
  abstract prepare (certFile: string, keyFile: string): Promise<() => void>
  protected abstract refresh (): Promise<void>
  protected abstract stop (): void

  current (): TlsMaterial { return this.#opened.material }

  get notAfter (): number { return this.#opened.notAfter }

  get #opened (): LoadedCertificate {
    if (this.loaded === undefined) throw new RelayError('RELAY_ERR_INTERNAL', 'certificate store is not open')
    return this.loaded
  }

  onChange (listener: (material: TlsMaterial, hashes: CertificateHash[]) => void): () => void {
    this.#listeners.add(listener)
    return () => { this.#listeners.delete(listener) }
  }

  /** One look at a time: two that overlap would write the same files. */
  reload (): Promise<void> {
    this.#work = this.#work.then(async () => {
      if (this.closed) return
      try {
        await this.refresh()
      } catch (error) {
        this.deps.log('error', 'certificate not replaced, the old one stays in use', { reason: describe(error) })
      }
    })
    return this.#work
  }

  async close (): Promise<void> {
    this.closed = true
    this.stop()
    this.#listeners.clear()
    await this.#work
  }

  protected changed (): void {
    for (const listener of this.#listeners) listener(this.current(), this.hashes())
  }
}

class ConfiguredStore extends BaseStore {
  readonly source = 'configured'
  readonly #watched = new WatchedFiles(() => { this.reload().catch(() => {}) }, this.options.watchIntervalMs)
  /** Certificate and key. */
  #files: readonly [string, string] = [this.options.certFile, this.options.keyFile]

  async open (): Promise<void> {
    this.#use(await loadConfigured(...this.#files))
    this.#watched.watch(this.#files)
  }

  async prepare (certFile: string, keyFile: string): Promise<() => void> {
    const found = await loadConfigured(certFile, keyFile)
    return () => {
      if (this.closed) return
      this.#files = [certFile, keyFile]
      this.#watched.watch(this.#files)
      this.#replace(found)
    }
  }

  hashes (): CertificateHash[] {
    return this.loaded !== undefined && isPinnable(this.loaded) ? [hashOf(this.loaded)] : []
  }

  protected async refresh (): Promise<void> {
    const files = this.#files
    const found = await loadConfigured(...files)
    // Of files that have been replaced meanwhile nothing counts.
    if (!this.closed && files === this.#files) this.#replace(found)
  }

  #replace (found: LoadedCertificate): void {
    if (found.material.cert === this.loaded?.material.cert && found.material.key === this.loaded.material.key) return
    this.#use(found)
    this.deps.log('info', 'certificate replaced', { subject: found.leaf.subject, validTo: found.leaf.validTo })
    this.changed()
  }

  protected stop (): void {
    this.#watched.close()
  }

  #use (found: LoadedCertificate): void {
    const now = this.deps.now()
    if (now >= found.notAfter || now < found.notBefore) {
      this.deps.log('warn', 'configured certificate is not valid now', { validFrom: found.leaf.validFrom, validTo: found.leaf.validTo })
    }
    this.loaded = found
  }
}

class SelfSignedStore extends BaseStore {
  readonly source = 'self-signed'
  #next: LoadedCertificate | undefined
  #cancel: () => void = () => {}

  async open (): Promise<void> {
    this.loaded = await this.#kept('current.pem')
    const next = await this.#kept('next.pem')
    // A crash between the two steps of a switch leaves the same certificate under both names.
    if (next?.material.cert !== this.loaded?.material.cert) this.#next = next
    await this.#renew()
    this.#arm()
  }

  hashes (): CertificateHash[] {
    return [this.loaded, this.#next].filter(kept => kept !== undefined).map(hashOf)
  }

  async prepare (): Promise<() => void> {
    return () => { void this.reload() }
  }

  protected async refresh (): Promise<void> {
    try {
      if (await this.#renew()) this.changed()
    } finally {
      this.#arm()
    }
  }

  protected stop (): void { this.#cancel() }

  /** A damaged file, or one for other hosts, is as good as none; a damaged one is kept under another name. */
  async #kept (name: string): Promise<LoadedCertificate | undefined> {
    const file = join(this.options.directory, name)
    try {
      const kept = await loadKept(file)
      return kept !== undefined && coversHosts(kept.leaf, this.options.hosts) ? kept : undefined
    } catch (error) {
      const keptAs = await keepBeside(file, 'damaged').catch(() => undefined)
      this.deps.log('warn', 'kept certificate is unusable, a new one replaces it', { reason: describe(error), keptAs })
      return undefined
    }
  }

  /** Carries out what is due; true when anything changed. */
  async #renew (): Promise<boolean> {
    let changed = false
    for (;;) {
      const action = nextAction(this.deps.now(), { current: this.loaded, next: this.#next })
      if (action.do === 'wait') return changed
      changed = true
      switch (action.do) {
        case 'create-current':
          this.loaded = await this.#create('current.pem')
          this.#next = undefined
          break
        case 'create-next':
          this.#next = await this.#create('next.pem')
          this.deps.log('info', 'next certificate created', { hash: hashOf(this.#next).value })
          break
        case 'switch':
          this.loaded = this.#next
          this.#next = undefined
          await this.#keep('current.pem', this.current())
          await rm(join(this.options.directory, 'next.pem'), { force: true }).catch(() => {})
          this.deps.log('info', 'next certificate is now in use', { validTo: this.loaded?.leaf.validTo })
      }
    }
  }

  async #create (name: string): Promise<LoadedCertificate> {
    const material = createSelfSigned(this.options.hosts, this.deps.now())
    await this.#keep(name, material)
    return check(material, name, name)
  }

  /** A directory that cannot be written costs the pinned hash at the next start, not the service. */
  async #keep (name: string, material: TlsMaterial): Promise<void> {
    try {
      await saveKept(join(this.options.directory, name), material)
    } catch (error) {
      this.deps.log('warn', 'certificate could not be kept on disk, a restart makes a new one', { reason: describe(error) })
    }
  }

  #arm (): void {
    this.#cancel()
    if (this.closed) return
    const now = this.deps.now()
    const action = nextAction(now, { current: this.loaded, next: this.#next })
    const wait = action.do === 'wait' ? Math.min(action.until - now, RECHECK_MS) : RECHECK_MS
    this.#cancel = (this.deps.after ?? afterTimeout)(wait, () => { this.reload().catch(() => {}) })
  }
}

function hashOf (loaded: LoadedCertificate): CertificateHash {
  return { algorithm: 'sha-256', value: certificateHash(loaded.material.cert) }
}

/** Whether browsers take this certificate through `serverCertificateHashes`, and need to since no authority vouches for it. */
function isPinnable (loaded: LoadedCertificate): boolean {
  const { leaf } = loaded
  return leaf.subject === leaf.issuer && loaded.notAfter - loaded.notBefore <= PINNED_MAX_VALIDITY_MS &&
    leaf.publicKey.asymmetricKeyDetails?.namedCurve === 'prime256v1'
}

function describe (error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
