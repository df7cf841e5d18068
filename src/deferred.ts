/** A promise settled from outside; `Promise.withResolvers` is not in Node 20. */
export interface Deferred<T> {
  readonly promise: Promise<T>
  readonly resolve: (value: T) => void
  readonly reject: (error: unknown) => void
}

export function deferred<T> (): Deferred<T> {
  let resolve: Deferred<T>['resolve'] | undefined
  let reject: Deferred<T>['reject'] | undefined
  const promise = new Promise<T>((_resolve, _reject) => {
    resolve = _resolve
    reject = _reject
  })
  if (resolve === undefined || reject === undefined) throw new Error('a promise runs its executor at once')
  return { promise, resolve, reject }
}

/** A promise that resolves after `ms`, or never once it is cancelled. */
export function deferredTimer (ms: number): { promise: Promise<void>, cancel: () => void } {
  let timer: NodeJS.Timeout | undefined
  const promise = new Promise<void>(resolve => { timer = setTimeout(resolve, ms) })
  return { promise, cancel: () => { clearTimeout(timer) } }
}
