import type { Lab } from '../lab.ts'
import type { Scenario } from '../scenario.ts'
import { http1Scenarios } from './http1.ts'
import { missScenarios } from './misses.ts'
import { secureScenarios } from './secure.ts'
import { sessionScenarios } from './sessions.ts'
import { viewersScenario } from './viewers.ts'

/** Everything that is compared, in the order it is measured and shown. */
export function allScenarios (lab: Lab): Scenario[] {
  return [...http1Scenarios(lab), ...missScenarios(lab), ...secureScenarios(lab), viewersScenario(lab), ...sessionScenarios(lab)]
}
