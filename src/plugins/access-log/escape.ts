/* Texts of strangers in a line: whatever they hold, the line is one line of visible ASCII, and none of them ends before its place does. */

const UNSAFE = /[^ !#-[\]-~]/
const BEYOND_ASCII = /[\u007f-\uffff]/g
const EACH_UNSAFE = /[^ !#-[\]-~]/gu

const hex = (value: number, digits: number): string => value.toString(16).padStart(digits, '0')

/** A string of JSON, in ASCII: U+2028 and other ends of lines are not taken for one. */
export function jsonText (text: string): string {
  if (!UNSAFE.test(text)) return `"${text}"`
  return JSON.stringify(text).replace(BEYOND_ASCII, char => `\\u${hex(char.charCodeAt(0), 4)}`)
}

/** As nginx writes them: quotes, backslashes and whatever is not visible ASCII as `\xHH`, byte by byte. Fields of a request are bytes, one a character. */
export function escaped (text: string): string {
  if (!UNSAFE.test(text)) return text
  return text.replace(EACH_UNSAFE, char => {
    const code = char.codePointAt(0) ?? 0
    const bytes = code <= 0xff ? [code] : [...Buffer.from(char)]
    return bytes.map(byte => `\\x${hex(byte, 2).toUpperCase()}`).join('')
  })
}
