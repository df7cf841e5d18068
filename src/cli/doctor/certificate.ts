import { RelayError } from '../../base/errors.ts'
import type { Config } from '../../config/config.ts'
import { loadConfigured } from '../../plugins/tls/certificate-files.ts'
import { fail, ok, warn, type Diagnosis } from './diagnosis.ts'

const DAY_MS = 86_400_000
/** Whoever renews certificates should have done so by then. */
const SOON_DAYS = 7

/** @param now milliseconds since the Unix epoch */
export async function checkCertificate ({ tls }: Config, now: number): Promise<Diagnosis> {
  const name = 'certificate'
  if (tls.cert === '' && tls.key === '') return ok(name, 'none is configured: viewers over WebTransport get a self-signed one, which renews itself; viewer HTTP is not encrypted')
  if (tls.cert === '' || tls.key === '') return fail(name, `tls.${tls.cert === '' ? 'cert' : 'key'} is not set`, 'name both files: a certificate and its key belong together')
  try {
    const { leaf, notBefore, notAfter } = await loadConfigured(tls.cert, tls.key)
    const who = `${leaf.subject.replaceAll('\n', ', ')}, for ${leaf.subjectAltName ?? 'no name'}`
    const days = Math.floor((notAfter - now) / DAY_MS)
    if (now >= notAfter) return fail(name, `${tls.cert} ended on ${leaf.validTo} (${who})`, 'have it renewed, and look why that did not happen by itself')
    if (now < notBefore) return fail(name, `${tls.cert} begins on ${leaf.validFrom} (${who})`, 'look at the clock of this machine, or wait')
    if (days < SOON_DAYS) return warn(name, `${tls.cert} ends in ${days} days (${who})`, 'look whether it is going to be renewed by itself')
    return ok(name, `${who}, ${days} days left`)
  } catch (error) {
    if (!(error instanceof RelayError)) throw error
    return fail(name, error.message, 'correct tls.cert and tls.key; the user of the relay has to be able to read both')
  }
}
