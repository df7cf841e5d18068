/* What is loaded when it is needed, so that a page has its first request out before it has all of this library. */
import type * as Answers from './answers.ts'
import type * as Sessions from './sessions.ts'

let sessions: typeof Sessions | undefined

/** Loads what only a client with sessions needs; a load that failed is tried again. */
export async function loadSessions (): Promise<typeof Sessions> {
  sessions ??= await import('./sessions.ts')
  return sessions
}

/** The same when it is there, as it is once there has been a session. */
export function loadedSessions (): typeof Sessions | undefined {
  return sessions
}

let answers: typeof Answers | undefined

/** Loads what an answer needs, beside the first request; a load that failed is tried again. */
export async function loadAnswers (): Promise<typeof Answers> {
  answers ??= await import('./answers.ts')
  return answers
}
