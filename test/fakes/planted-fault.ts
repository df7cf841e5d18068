/** A target with a fault that no seed comes near: only who sees branches and comparisons finds it in time. */
export function fuzz (data: Uint8Array): void {
  const text = Buffer.from(data).toString('latin1')
  if (!text.startsWith('{')) return
  const type = text.slice(1, 6)
  if (type === 'hello' && text.slice(6, 9) === 'bug' && data.length < 64) throw new TypeError('planted')
}
