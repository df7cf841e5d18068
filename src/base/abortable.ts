import { deferred } from './deferred.ts'

/** What is waited for, while it is waited for. @throws the reason of the signal; what the promise rejects with, which after an abort nobody hears */
export async function abortable<T> (promise: Promise<T>, signal: AbortSignal): Promise<T> {
  const aborted = deferred<never>()
  const abort = (): void => { aborted.reject(signal.reason) }
  if (signal.aborted) abort()
  else signal.addEventListener('abort', abort, { once: true })
  try {
    return await Promise.race([promise, aborted.promise])
  } finally {
    signal.removeEventListener('abort', abort)
  }
}
