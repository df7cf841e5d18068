// Small pieces of DOM and text that the page is made of.

const integer = new Intl.NumberFormat('en')

export const count = value => integer.format(value)
export const millis = value => value < 10 ? value.toFixed(1) : integer.format(Math.round(value))
/** Bits per second as Mbit/s, never more than there are. */
export const megabits = bitsPerSecond => (Math.floor(bitsPerSecond / 10_000) / 100).toString()
export const list = items => items.length > 1 ? `${items.slice(0, -1).join(', ')} and ${items.at(-1)}` : `${items[0] ?? ''}`
export const times = number => number === 1 ? 'once' : number === 2 ? 'twice' : `${number} times`
export const amount = (number, one, many) => `${integer.format(number)} ${number === 1 ? one : many}`
export const byId = id => document.getElementById(id)

export function element (name, properties, ...children) {
  const node = Object.assign(document.createElement(name), properties)
  node.append(...children)
  return node
}

/** A code such as RELAY_ERR_NOT_FOUND, which breaks between its words where a line is too short for it. */
export function codeElement (name, code) {
  return element(name, {}, ...code.split(/(?<=_)/).flatMap((word, position) => position === 0 ? [word] : [document.createElement('wbr'), word]))
}

export const badge = (text, kind = '') => element('span', { className: `badge ${kind}` }, text)
