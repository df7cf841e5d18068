/** The thread in which libp2p runs, see `p2p-thread.ts`: what goes wrong in it ends the thread and not the relay. */
import { parentPort, workerData } from 'node:worker_threads'
import { systemClock, systemTimers } from '../../base/clock.ts'
import { publisherKeys } from '../integrity/publisher-signature.ts'
import { loadLibp2p, MissingPackagesError } from './load-libp2p.ts'
import { P2pDuties } from './p2p-duties.ts'
import { P2pNode } from './p2p-node.ts'
import type { P2pOrder, P2pReport, P2pSettings } from './p2p-messages.ts'
import { verifyHolderRecord } from './verify-holder-record.ts'

const settings = workerData as P2pSettings
const policy = { publishers: publisherKeys(settings.publishers), maxAgeMs: settings.maxAgeMs }

function report (what: P2pReport): void {
  parentPort?.postMessage(what)
}

function unfit (error: unknown): void {
  const detail = error instanceof Error ? error.message.split('\n', 1)[0] ?? '' : String(error)
  if (error instanceof MissingPackagesError) report({ is: 'unfit', code: 'RELAY_ERR_CONFIG', detail })
  else report({ is: 'unfit', code: 'RELAY_ERR_LISTEN', detail: `libp2p cannot be started with p2p.listen ${settings.listen.join(', ')}: ${detail}` })
}

async function run (): Promise<void> {
  const node = await P2pNode.start(await loadLibp2p(), {
    ...settings,
    verify: (bytes, cid) => verifyHolderRecord(bytes, cid, policy, systemClock.now()),
    refused: (cid, fault, detail) => { report({ is: 'refused', cid, fault, detail }) }
  })
  const duties = new P2pDuties({ node, report, timers: systemTimers })
  const { close } = duties.start()
  node.onChange(() => { duties.changed() })
  parentPort?.on('message', (order: P2pOrder) => {
    if (order.do !== 'close') duties.take(order)
    else void close().catch(() => {}).finally(() => { parentPort?.close() })
  })
  report({ is: 'ready' })
  duties.changed()
}

run().catch(unfit)
