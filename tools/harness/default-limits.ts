/** Apart from `limits.ts`: whoever asks for these loads the configuration, which takes longer than all the rest of the harness. */
import { defaultConfig } from '../../src/config/config.ts'

/** What a relay has when nothing is configured. */
export const DEFAULT_LIMITS = defaultConfig().limits
