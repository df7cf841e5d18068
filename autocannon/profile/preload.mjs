/**
 * Loaded before a relay and its gateway (`--import`): each SIGURG, which nothing else uses, begins or ends a CPU profile of the process, which is written as
 * `<pid>.cpuprofile` into the directory that PROFILE_DIRECTORY names. Node 20 takes `--cpu-prof` neither in NODE_OPTIONS nor for a part
 * of a run.
 */
import { renameSync, writeFileSync } from 'node:fs'
import { Session } from 'node:inspector'
import { join } from 'node:path'

/** Microseconds between two samples. */
const INTERVAL = 500
const directory = process.env.PROFILE_DIRECTORY
const session = new Session()
let running = false

session.connect()
session.post('Profiler.enable')
session.post('Profiler.setSamplingInterval', { interval: INTERVAL })
process.on('SIGURG', () => {
  if (running) {
    session.post('Profiler.stop', (error, result) => {
      const path = join(directory, `${process.pid}.cpuprofile`)
      writeFileSync(`${path}.tmp`, error === null ? JSON.stringify(result.profile) : '')
      // Whoever waits for it finds it whole.
      renameSync(`${path}.tmp`, path)
    })
  } else session.post('Profiler.start')
  running = !running
})
