import { lengthened } from './slots.ts'

/** No string; the first is 1. */
const NONE = 0
const FIRST_NUMBERS = 64
/** Longest string that is copied; others are kept as they come. */
const SCRATCH = Buffer.alloc(256)

/** Strings of ASCII by number, each kept once for as long as somebody uses it. */
export class Interned {
  readonly #numbers = new Map<string, number>()
  readonly #strings: string[] = ['']
  readonly #free: number[] = []
  #uses = new Uint32Array(FIRST_NUMBERS)

  get count (): number { return this.#numbers.size }

  /** Each with its number. */
  all (): IterableIterator<[string: string, number: number]> {
    return this.#numbers.entries()
  }

  /** 0 when it is not there. */
  numberOf (string: string): number {
    return this.#numbers.get(string) ?? NONE
  }

  stringOf (number: number): string {
    return this.#strings[number] ?? ''
  }

  /** Its number, with one more use. */
  use (string: string): number {
    const number = this.#numbers.get(string) ?? this.#add(string)
    this.useAgain(number)
    return number
  }

  useAgain (number: number): void {
    this.#uses[number] = (this.#uses[number] ?? 0) + 1
  }

  /** One use less; true with the last one, when the number may be given to another string. */
  leave (number: number): boolean {
    const uses = this.#uses[number] = (this.#uses[number] ?? 0) - 1
    if (uses > 0) return false
    this.#numbers.delete(this.stringOf(number))
    this.#strings[number] = ''
    this.#free.push(number)
    return true
  }

  #add (string: string): number {
    // A piece of a longer string would keep all of it in memory.
    const own = string.length > SCRATCH.length ? string : SCRATCH.toString('latin1', 0, SCRATCH.write(string, 'latin1'))
    const number = this.#free.pop() ?? this.#strings.length
    if (number === this.#uses.length) this.#uses = lengthened(this.#uses, new Uint32Array(number * 2))
    this.#strings[number] = own
    this.#numbers.set(own, number)
    return number
  }
}
