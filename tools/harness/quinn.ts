import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import type { NapiBinding } from '../../src/quinn/binding.ts'
import { engineFile, loadEngine } from '../../src/quinn/engine-file.ts'

let binding: NapiBinding | undefined

/** The engine, loaded once. @throws EngineUnavailableError */
export function quinnBinding (): NapiBinding {
  binding ??= loadEngine(engineFile({ directory: join(tmpdir(), `icn-relay-engine-${userInfo().uid}`), shim: true, log: () => {} }))
  return binding
}
