/**
 * `npm run load:gate` compares ratios with `autocannon/baseline.json` and exits 1 when one is worse beyond its noise;
 * `npm run load:baseline` measures that file anew.
 */
import { runProgram } from '../arguments.ts'
import { baselineCommand } from './commands.ts'

await runProgram('load', baselineCommand)
