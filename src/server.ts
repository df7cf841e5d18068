#!/usr/bin/env node
import { once } from 'node:events'
import closeWithGrace from 'close-with-grace'
import { buildApp } from './app.ts'
import { systemClock } from './base/clock.ts'
import { RelayError } from './base/errors.ts'
import { growHeapFreely } from './base/heap-growth.ts'
import { createLogger, droppedNote } from './base/log.ts'
import { fileWriter, LogSink, TOGETHER_MS } from './base/log-sink.ts'
import { VERSION } from './base/version.ts'
import { parseCommandLine, USAGE } from './cli/arguments.ts'
import { hashToken, signedUrl } from './cli/commands.ts'
import { diagnosesText, examine } from './cli/doctor/doctor.ts'
import { askRunning, runningBytes, streamOfRunning } from './cli/ask-admin.ts'
import { changeDenylist } from './cli/block-command.ts'
import { PURGE_MS, purgeCache } from './cli/purge-command.ts'
import { reloadConfig } from './cli/reload-command.ts'
import { repairVideo } from './cli/repair-command.ts'
import { tailLog } from './cli/tail-command.ts'
import { warmVideos } from './cli/warm-command.ts'
import { endOfNode } from './cli/node-version.ts'
import { checkSettings, checkStart } from './cli/start-check.ts'
import { StartSignals } from './cli/start-signals.ts'
import { configFile, configOf, readLayers, readTokens, startLayers, type Config } from './config/config.ts'
import { endAs, isLauncher, launch } from './launcher/launch.ts'
import { withOwnToken } from './plugins/admin/own-token.ts'
import { StartListener } from './plugins/http/start-listener.ts'
import { listenSockets } from './spawn/listen-sockets.ts'
import { hasSeparateGateway, isLaunched, stopWithLauncher } from './plugins/viewers/launched-gateways.ts'

/** Takes writing from the group, and everything from others. */
const GROUP_MAY_READ = 0o027
/** Longer than the relay's own deadline, so that this one ends only what hangs, ms. */
const STOP_MARGIN_MS = 5_000
/** Time the last log lines have to be read, ms. */
const LAST_LINES_MS = 500

/**
 * Node waits for its thread pool when it exits, and so for ever when a thread hangs in the kernel: on a disk that does not answer, or a
 * pipe nobody reads. Such a process ends by signal.
 */
function endInSpiteOf (hangs: () => boolean): void {
  process.on('exit', () => {
    if (!hangs()) return
    process.removeAllListeners('SIGTERM')
    process.kill(process.pid, 'SIGTERM')
    process.kill(process.pid, 'SIGKILL')
  })
}

/** What asks a running relay ends by signals as any program does, and so not with 0, which says that all is done. */
function endBySignals (): void {
  for (const name of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) process.removeAllListeners(name)
}

async function main (): Promise<void> {
  const commandLine = parseCommandLine(process.argv.slice(2))
  if (commandLine.help) {
    process.stdout.write(USAGE)
    return
  }
  if (commandLine.version) {
    process.stdout.write(`${VERSION}\n`)
    return
  }
  if (commandLine.hashToken) {
    process.stdout.write(`${await hashToken(process.stdin)}\n`)
    return
  }
  const layers = startLayers(commandLine, process.env)
  const settings = configOf(layers)
  if (commandLine.signUrl !== undefined) {
    process.stdout.write(`${await signedUrl(settings, commandLine.signUrl, systemClock.now())}\n`)
    return
  }
  if (commandLine.repair !== undefined) {
    endBySignals()
    const restored = await repairVideo(await askRunning('repair', settings, commandLine.repair.admin), commandLine.repair, line => { process.stdout.write(`${line}\n`) })
    process.exitCode = restored ? 0 : 1
    return
  }
  if (commandLine.warm !== undefined) {
    endBySignals()
    const warmed = await warmVideos(await askRunning('warm', settings, commandLine.warm.admin), commandLine.warm, { write: text => { process.stdout.write(text) }, terminal: process.stdout.isTTY })
    process.exitCode = warmed ? 0 : 1
    return
  }
  if (commandLine.block !== undefined) {
    endBySignals()
    const command = commandLine.block.undo ? 'unblock' : 'block'
    process.stdout.write(`${await changeDenylist(await askRunning(command, settings, commandLine.block.admin), commandLine.block)}\n`)
    return
  }
  if (commandLine.purge !== undefined) {
    endBySignals()
    process.stdout.write(`${await purgeCache(await askRunning('purge', settings, commandLine.purge.admin, PURGE_MS), commandLine.purge)}\n`)
    return
  }
  if (commandLine.tail !== undefined) {
    endBySignals()
    process.stdout.once('error', () => { process.exit(0) })
    const { filter, json, admin } = commandLine.tail
    await tailLog(await streamOfRunning('tail', settings, admin, `/log/stream?${String(new URLSearchParams(filter))}`), json, async line => {
      // Whoever reads slowly loses records at the relay, and nothing piles up here.
      if (!process.stdout.write(line)) await once(process.stdout, 'drain')
    })
    return
  }
  if (commandLine.doctor !== undefined) {
    endBySignals()
    const found = await examine(settings, { now: systemClock.now, running: async () => await runningBytes(settings) })
    process.stdout.write(commandLine.doctor.json ? `${JSON.stringify(found, undefined, 2)}\n` : diagnosesText(found))
    process.exitCode = found.some(({ level }) => level === 'fail') ? 1 : 0
    return
  }
  if (commandLine.reload !== undefined) {
    endBySignals()
    for (const line of await reloadConfig(await askRunning('reload', settings, commandLine.reload.admin))) process.stdout.write(`${line}\n`)
    return
  }
  if (isLauncher(settings) && !commandLine.validate) return endAs(await launch(settings))
  await checkStart(settings)
  if (commandLine.validate) {
    process.stdout.write('configuration ok\n')
    return
  }
  growHeapFreely()
  // Asking for `stdout` makes Node switch a pipe to non-blocking: a full one then holds no thread.
  const log = new LogSink({ togetherMs: TOGETHER_MS, write: fileWriter(process.stdout.fd), note: dropped => droppedNote(dropped, systemClock.now()) })
  const logger = createLogger(settings.log.level, log)
  if (process.getuid?.() === 0) logger.warn('the relay runs as root, which it needs for nothing: set process.user, or start it as another user, as deploy/icn-relay.service does')
  const outOfSupport = endOfNode(process.versions.node)
  if (outOfSupport !== undefined) logger.warn(outOfSupport)
  if (isLaunched()) stopWithLauncher()
  // Whatever the mask of root is; a service may have a narrower one.
  if (hasSeparateGateway(settings)) process.umask(GROUP_MAY_READ)
  let hangs = (): boolean => false
  endInSpiteOf(() => log.writing || hangs())
  const signals = new StartSignals(settings.viewer.stop_timeout_ms + STOP_MARGIN_MS)
  const config = await withOwnToken(settings, logger)
  const sockets = listenSockets(process.env, process.pid)
  const startListener = await StartListener.open(config, logger, sockets.admin)
  logger.info({ adminPort: startListener?.port, version: VERSION }, 'relay starting')
  const source = {
    file: configFile(commandLine, process.env),
    read: async () => await readLayers(commandLine, process.env),
    complete: async (next: Config) => {
      const complete = await readTokens(next)
      checkSettings(complete)
      return await withOwnToken(complete, logger)
    }
  }
  const relay = await buildApp(config, { logger, read: { layers, source }, output: line => { log.write(line) }, droppedLines: () => log.dropped, sockets, startListener, signal: signals.signal }).catch(async (error: unknown) => {
    await startListener?.close()
    if (signals.signal.aborted) logger.info('stopped while starting')
    await log.flush(LAST_LINES_MS)
    if (signals.signal.aborted) process.exit(0)
    throw error
  })
  hangs = () => relay.hangs()
  process.on('SIGHUP', () => { void relay.reload() })
  process.on('SIGUSR1', () => { void relay.reopenLogs() })
  const grace = closeWithGrace({ delay: config.viewer.lame_duck_ms + config.viewer.stop_timeout_ms + STOP_MARGIN_MS, logger, skip: ['SIGHUP'] }, async ({ signal, err }) => {
    if (err === undefined) logger.info({ signal }, 'stopping')
    else logger.fatal({ err }, 'uncaught error, stopping')
    if (err === undefined && signal !== undefined) await relay.leave()
    await relay.close()
    await startListener?.close()
    logger.info('stopped')
    await log.flush(LAST_LINES_MS)
  })
  signals.end()
  if (signals.signal.aborted) return grace.close()
  const ports = await relay.listen().catch(async (error: unknown) => {
    await relay.close()
    await startListener?.close()
    await log.flush(LAST_LINES_MS)
    throw error
  })
  logger.info({ ...ports, version: VERSION, node: process.version, cache: config.cache.path }, 'relay ready')
}

main().catch((error: unknown) => {
  if (error instanceof RelayError) for (const line of error.message.split('\n')) process.stderr.write(`icn-relay: ${error.code}: ${line}\n`)
  else process.stderr.write(`icn-relay: ${error instanceof Error ? error.stack ?? error.message : String(error)}\n`)
  process.exit(1)
})
