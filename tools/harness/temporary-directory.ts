import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Cleanup } from './cleanup.ts'

/** A directory that goes with the test. */
export async function temporaryDirectory (t: Cleanup): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'icn-relay-test-'))
  // A relay that still runs heals a cache directory that somebody empties.
  t.after(async () => { await rm(path, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 }) })
  return path
}
