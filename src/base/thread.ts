import { pathToFileURL } from 'node:url'
import { Worker, type WorkerOptions } from 'node:worker_threads'
import { FROM_SOURCES, startedModule } from './package-root.ts'

/** Starts a module in a thread of its own. @param name see {@link startedModule} */
export function startThread (name: string, options: WorkerOptions): Worker {
  const path = startedModule(name)
  if (!FROM_SOURCES) return new Worker(path, options)
  // From the sources: a thread of Node 20 reads TypeScript only when it asks for that itself.
  const [loader, file] = [import.meta.resolve('tsx/esm/api'), pathToFileURL(path).href]
  return new Worker(`import(${JSON.stringify(loader)}).then(({ register }) => { register(); return import(${JSON.stringify(file)}) })`, { ...options, eval: true })
}
