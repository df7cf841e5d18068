import { execFile } from 'node:child_process'
import { freemem } from 'node:os'
import { promisify } from 'node:util'

/** Enough for whatever a scenario writes, bytes. */
const MOST_BYTES = 8 * 1024 ** 3
/** Of what is free, so that nobody is killed for it. */
const SHARE = 0.7

/** Fills memory of a process of its own in pieces, one byte of each page being enough, and ends. */
const TOUCH = `
  const kept = []
  for (let left = Number(process.argv[1]); left > 0; left -= 67108864) {
    const piece = Buffer.allocUnsafeSlow(67108864)
    for (let at = 0; at < piece.length; at += 4096) piece[at] = 1
    kept.push(piece)
  }`

/**
 * Has the machine own the memory that is about to be used: a page that a virtual machine touches for the first time costs its kernel and its host several times what
 * the same page costs later, and whoever is measured first would pay for it. Then writes what is still to be written to disk, so that nobody pays for that either.
 */
export async function touchMemory (): Promise<void> {
  const run = promisify(execFile)
  await run(process.execPath, ['-e', TOUCH, String(Math.floor(Math.min(MOST_BYTES, freemem() * SHARE)))])
  await run('sync')
}
