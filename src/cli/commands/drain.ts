import { setTimeout as delay } from 'node:timers/promises'
import { askRunning, publicOfRunning, type AskAdmin, type ReadPublic } from '../ask-admin.ts'
import { ADMIN, command, fail, isUrl, JSON_OPTION, jsonText } from '../command.ts'

/** Time that viewers have to move, seconds. */
const DEADLINE_SECONDS = 30
/** Relays that viewers may be sent to. */
const MAX_ALTERNATES = 16
/** Time between two looks at how many viewers are left, ms. */
const LOOK_MS = 500
/** How long after the deadline they are waited for, ms. */
const GRACE_MS = 5_000

interface DrainRequest {
  readonly alternates: readonly string[]
  readonly deadlineMs: number
  readonly wait: boolean
  readonly undo: boolean
  readonly json: boolean
  readonly admin: string | undefined
}

export interface DrainDeps {
  readonly ask: AskAdmin<{ readonly draining: boolean }>
  readonly read: ReadPublic
  readonly pause: () => Promise<void>
  /** Milliseconds. */
  readonly now: () => number
}

/** Has a running relay ask its viewers to move. @returns the viewers that are left, undefined when they are not waited for @throws RelayError RELAY_ERR_CONFIG */
export async function drainViewers ({ ask, read, pause, now }: DrainDeps, { alternates, deadlineMs, wait }: Pick<DrainRequest, 'alternates' | 'deadlineMs' | 'wait'>): Promise<number | undefined> {
  await ask('/drain', { deadlineMs, alternates })
  if (!wait) return undefined
  const until = now() + deadlineMs + GRACE_MS
  for (;;) {
    const { viewer_connections: left } = JSON.parse((await read('/health')).text) as { viewer_connections: number }
    if (left === 0 || now() >= until) return left
    await pause()
  }
}

export const drain = command({
  name: 'drain',
  summary: 'have a running relay ask its viewers to move, and take no new sessions',
  says: 'Holds until "drain --undo" or a restart. /ready says 503 meanwhile.',
  operands: { shown: '[RELAY-URL…]', says: 'where they may move to, best first; at most 16' },
  options: {
    ...ADMIN,
    ...JSON_OPTION,
    deadline: { value: 'S', says: `seconds that they have to move, ${DEADLINE_SECONDS} unless given`, mustBe: [/^(?:\d{1,3}|[12]\d{3}|3[0-5]\d\d|3600)$/, '0 to 3600 seconds'] },
    wait: { says: 'end when nobody is left, or the time is up' },
    undo: { says: 'have it take new sessions again' }
  },
  exits: { 1: 'viewers are left though the time is up' },
  examples: ['icn-relay drain --wait --deadline 60 https://relay-2.example:9003'],
  take: ({ deadline = String(DEADLINE_SECONDS), wait, undo, json, admin }, alternates): DrainRequest => {
    if (!alternates.every(isUrl) || alternates.length > MAX_ALTERNATES) fail('drain takes at most 16 URLs of relays, http or https')
    if (undo && (wait || alternates.length > 0)) fail('--undo stands alone')
    return { alternates, deadlineMs: Number(deadline) * 1_000, wait, undo, json, admin }
  },
  run: async ({ undo, json, admin, ...asked }, { settings, now, write }) => {
    const ask = await askRunning<{ draining: boolean }>('drain', settings(), admin)
    if (undo) {
      const answer = await ask('/drain', undefined, 'DELETE')
      await write(json ? jsonText(answer) : 'new sessions are taken again\n')
      return 0
    }
    const left = await drainViewers({ ask, read: publicOfRunning('drain', settings(), admin), pause: async () => { await delay(LOOK_MS) }, now }, asked)
    const told = left === undefined ? `viewers are asked to move within ${asked.deadlineMs / 1_000} s` : left === 0 ? 'no viewer is left' : `${left} viewers are left`
    await write(json ? jsonText({ draining: true, ...left === undefined ? {} : { left } }) : `${told}\n`)
    return (left ?? 0) === 0 ? 0 : 1
  }
})
