import { escaped } from '../../plugins/access-log/escape.ts'
import { percentText, sizeText, tableText } from '../units.ts'
import type { TopReport, TopRow } from './tally.ts'

const HEADS = { objects: 'OBJECT', viewers: 'VIEWER', superNodes: 'SUPER-NODE' } as const
/** Lines that are no rows: the sum, and above each table an empty line and its head. */
const FRAME = 2 + 2 * Object.keys(HEADS).length

/** Rows of each table that a screen has room for. */
export const rowsFor = (lines: number): number => Math.max(3, Math.floor((lines - FRAME) / Object.keys(HEADS).length))

function cells ({ requests, bytes, hits, errors, name }: TopRow, superNode: boolean): string[] {
  return [requests.toFixed(1), `${sizeText(bytes)}/s`, superNode ? '' : percentText(hits), percentText(errors), escaped(name)]
}

/** What `top` shows. @param columns lines are cut after so many */
export function screenText (report: TopReport, columns = Number.POSITIVE_INFINITY): string {
  const { total, lost } = report
  const sum = `${total.requests.toFixed(1)} requests/s, ${sizeText(total.bytes)}/s, ${total.requests === 0 ? 'no' : percentText(total.hits)} hits, ${total.requests === 0 ? 'no' : percentText(total.errors)} errors${lost > 0 ? `, ${lost} records lost` : ''}\n`
  const tables = (['objects', 'viewers', 'superNodes'] as const).map(name =>
    `\n${tableText([['REQ/S', 'BYTES', name === 'superNodes' ? '' : 'HITS', 'ERRORS', HEADS[name]], ...report[name].map(row => cells(row, name === 'superNodes'))], [0, 1, 2, 3])}`)
  return (sum + tables.join('')).split('\n').map(line => line.slice(0, columns)).join('\n')
}
