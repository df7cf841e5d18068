import { runningBytes } from '../ask-admin.ts'
import { command, JSON_OPTION, jsonText } from '../command.ts'
import { diagnosesText, examine } from '../doctor/doctor.ts'

export const doctor = command({
  name: 'doctor',
  summary: 'look at what a relay with this configuration needs, and say what to do',
  says: 'Looks at settings, machine, disk, ports, certificate, super-nodes and clock. A relay that runs feels nothing of it.',
  options: JSON_OPTION,
  exits: { 1: 'something would not work' },
  take: ({ json }) => ({ json }),
  run: async ({ json }, { settings, now, write }) => {
    const config = settings()
    const found = await examine(config, { now, running: async () => await runningBytes(config) })
    await write(json ? jsonText(found) : diagnosesText(found))
    return found.some(({ level }) => level === 'fail') ? 1 : 0
  }
})
