/** The HTTP/1.1 client, in a process of its own on a core of its own: told what to do over IPC, answers with what it saw. */
import { cpuUsage } from 'node:process'
import { Http1Connection } from './http1-connection.ts'
import { runLoad, type Load, type LoadOutcome } from './load.ts'

export interface Http1Order {
  readonly port: number
  readonly load: Load
}

export interface Http1Answer {
  readonly outcome?: LoadOutcome
  /** CPU of this process, ms. */
  readonly cpuMs?: number
  readonly error?: string
}

async function load (port: number, order: Load): Promise<Http1Answer> {
  const connections = await Promise.all(Array.from({ length: order.connections }, async () => await Http1Connection.open(port)))
  const cpu = cpuUsage()
  try {
    const outcome = await runLoad(connections, order)
    const { user, system } = cpuUsage(cpu)
    return { outcome, cpuMs: (user + system) / 1_000 }
  } finally {
    for (const connection of connections) connection.close()
  }
}

process.on('message', message => {
  const { port, load: order } = message as Http1Order
  load(port, order)
    .catch((error: unknown): Http1Answer => ({ error: error instanceof Error ? error.message : String(error) }))
    .then(answer => { process.send?.(answer) }, () => {})
})
process.on('disconnect', () => { process.exit(0) })
