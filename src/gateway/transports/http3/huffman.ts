/** The Huffman code of HPACK and QPACK (RFC 7541 §5.2 and appendix B, used by RFC 9204 §4.1.2). */

/**
 * Code length in bits of each symbol 0..255 and of EOS (256), from RFC 7541 appendix B. The code is canonical: sorted by length and
 * then by symbol, each code word is the one before plus one; so the lengths say everything.
 */
const LENGTHS: readonly number[] = [
  13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
  6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
  13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
  15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
  20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
  22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
  26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
  20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
  30
]

const EOS = 256
/** Longest code word, RFC 7541 appendix B. */
const MAX_BITS = 30

const codes = new Uint32Array(LENGTHS.length)
/** Symbols in canonical order. */
const symbols: number[] = LENGTHS.map((_, symbol) => symbol).sort((a, b) => bits(a) - bits(b) || a - b)
/** For each length: the first code word, where its symbols start in `symbols`, and how many there are. */
const firstCode = new Uint32Array(MAX_BITS + 1)
const firstIndex = new Uint16Array(MAX_BITS + 1)
const counts = new Uint16Array(MAX_BITS + 1)

function bits (symbol: number): number {
  return LENGTHS[symbol] ?? 0
}

{
  let code = 0
  let length = 0
  for (const [index, symbol] of symbols.entries()) {
    const wanted = bits(symbol)
    if (wanted !== length) {
      code *= 2 ** (wanted - length)
      length = wanted
      firstCode[length] = code
      firstIndex[length] = index
    }
    codes[symbol] = code
    counts[length] = (counts[length] ?? 0) + 1
    code++
  }
}

/** Bytes that `huffmanEncode` makes of `bytes`. */
export function huffmanLength (bytes: Uint8Array): number {
  let total = 0
  for (const byte of bytes) total += bits(byte)
  return Math.ceil(total / 8)
}

/** Encodes octets, padded with the most significant bits of EOS (all ones). */
export function huffmanEncode (bytes: Uint8Array): Uint8Array {
  const out = new Uint8Array(huffmanLength(bytes))
  let at = 0
  let held = 0
  let pending = 0
  for (const byte of bytes) {
    // At most 7 bits wait, and 30 more do not fit 32: the word goes in two halves, high bits first.
    let left = bits(byte)
    const code = codes[byte] ?? 0
    while (left > 0) {
      const take = Math.min(left, 16)
      left -= take
      held = (held << take) | ((code >>> left) & ((1 << take) - 1))
      pending += take
      while (pending >= 8) {
        pending -= 8
        out[at++] = (held >>> pending) & 0xff
      }
      held &= (1 << pending) - 1
    }
  }
  if (pending > 0) out[at] = ((held << (8 - pending)) | ((1 << (8 - pending)) - 1)) & 0xff
  return out
}

/**
 * Decodes `bytes`, or returns undefined when they are no Huffman string: EOS inside, padding of 8 bits or more, or padding that is
 * not all ones (RFC 7541 §5.2). `limit` bounds the result in bytes; a longer one is undefined too.
 */
export function huffmanDecode (bytes: Uint8Array, limit: number): Uint8Array | undefined {
  // The shortest code word has 5 bits.
  const out = new Uint8Array(Math.min(limit, Math.floor(bytes.length * 8 / 5)))
  let at = 0
  let code = 0
  let length = 0
  for (const byte of bytes) {
    for (let bit = 7; bit >= 0; bit--) {
      code = (code * 2) + ((byte >> bit) & 1)
      length++
      if (length > MAX_BITS) return undefined
      const index = code - (firstCode[length] ?? 0)
      if (index < 0 || index >= (counts[length] ?? 0)) continue
      const symbol = symbols[(firstIndex[length] ?? 0) + index]
      if (symbol === undefined || symbol === EOS || at >= out.length) return undefined
      out[at++] = symbol
      code = 0
      length = 0
    }
  }
  if (length > 7 || code !== 2 ** length - 1) return undefined
  return out.subarray(0, at)
}
