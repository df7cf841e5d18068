#!/usr/bin/env node
import closeWithGrace from 'close-with-grace'
import { buildApp } from './app.ts'
import { systemClock } from './base/clock.ts'
import { RelayError } from './base/errors.ts'
import { growHeapFreely } from './base/heap-growth.ts'
import { createLogger, droppedNote } from './base/log.ts'
import { fileWriter, LogSink, TOGETHER_MS } from './base/log-sink.ts'
import { VERSION } from './base/version.ts'
import { parseCommandLine, type Invocation } from './cli/arguments.ts'
import { EXIT_NO_RELAY, NoRelayError } from './cli/ask-admin.ts'
import { commandContext } from './cli/command-context.ts'
import type { CommandContext } from './cli/command.ts'
import { RUNS } from './cli/commands/relay.ts'
import { usage, usageOf } from './cli/help.ts'
import { endOfNode } from './cli/node-version.ts'
import { checkSettings, checkStart } from './cli/start-check.ts'
import { StartSignals } from './cli/start-signals.ts'
import { configFile, readLayers, readTokens, type Config } from './config/config.ts'
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

/** @returns the exit code; {@link RUNS} when a relay is to be run */
async function runCommand ({ name, command, help, version, run }: Invocation, context: CommandContext): Promise<number> {
  if (name !== undefined) endBySignals()
  if (help) await context.write(name === undefined ? usage() : usageOf(command))
  else if (version) await context.write(`${VERSION}\n`)
  else return await run(context)
  return 0
}

async function main (): Promise<void> {
  const invocation = parseCommandLine(process.argv.slice(2))
  const context = commandContext(invocation.flags)
  const exitCode = await runCommand(invocation, context)
  if (exitCode === RUNS) await runRelay(invocation, context)
  else process.exitCode = exitCode
}

async function runRelay ({ flags }: Invocation, context: CommandContext): Promise<void> {
  const layers = context.layers()
  const settings = context.settings()
  if (isLauncher(settings)) return endAs(await launch(settings))
  await checkStart(settings)
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
    file: configFile(flags, process.env),
    read: async () => await readLayers(flags, process.env),
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
  process.exit(error instanceof NoRelayError ? EXIT_NO_RELAY : 1)
})
