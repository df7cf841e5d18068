/** Levels of the log, from the least talkative to the most; `silent` writes nothing. */
export const LOG_LEVELS = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'] as const
export type LogLevelName = typeof LOG_LEVELS[number]
