import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { suite, test } from 'node:test'
import fc from 'fast-check'
import { PINNED_BUILDS } from '../../../src/quinn/engine-file.ts'
import { glibcVersion, GlibcShimError, isNewer, withOldGlibc } from '../../../src/quinn/glibc-shim.ts'

const BOOKWORM = [2, 36]
const JAMMY = [2, 35]
const COMPARED_BYTES = 4_096
/** Two names of four bytes, two versions of two, and one flag. */
const MOST_CHANGED_BYTES = 13

interface Change {
  readonly offset: number
  readonly from: number
  readonly to: number
}

interface Build {
  /** Where the table of dynamic strings and the dynamic section begin. */
  readonly strings: number
  readonly dynamic: number
  /** Two names nine characters further on, the two versions, and one weak flag. */
  readonly changes: readonly Change[]
}

/** As `readelf` shows them. */
const BUILDS: Readonly<Record<typeof PINNED_BUILDS[number]['package'], Build>> = {
  '@moq/web-transport-linux-x64-gnu': {
    strings: 0x1280,
    dynamic: 0x6365d8,
    changes: [
      { offset: 0x5b8, from: 94, to: 103 },
      { offset: 0x618, from: 138, to: 147 },
      { offset: 0xfce, from: 9, to: 2 },
      { offset: 0xfd6, from: 9, to: 2 },
      { offset: 0x1244, from: 0, to: 2 }
    ]
  },
  '@moq/web-transport-linux-arm64-gnu': {
    strings: 0xf28,
    dynamic: 0x50f258,
    changes: [
      { offset: 0x460, from: 49, to: 58 },
      { offset: 0xef8, from: 110, to: 119 },
      { offset: 0x16b0, from: 8, to: 4 },
      { offset: 0x1792, from: 8, to: 4 },
      { offset: 0x183c, from: 0, to: 2 }
    ]
  }
}

function installed (name: string): Buffer | undefined {
  try {
    return readFileSync(createRequire(import.meta.url).resolve(name))
  } catch {
    return undefined
  }
}

function changes (before: Buffer, after: Buffer): Change[] {
  assert.equal(after.length, before.length)
  const found: Change[] = []
  for (let start = 0; start < before.length; start += COMPARED_BYTES) {
    const part = before.subarray(start, start + COMPARED_BYTES)
    if (part.equals(after.subarray(start, start + COMPARED_BYTES))) continue
    for (const [position, from] of part.entries()) {
      const offset = start + position
      const to = after.readUInt8(offset)
      if (from !== to) found.push({ offset, from, to })
    }
  }
  return found
}

const stringAt = (file: Buffer, offset: number): string => file.toString('latin1', offset, file.indexOf(0, offset))

/** The file with the first place of some text, which is that in the table of dynamic strings, saying another of the same length. */
function renamed (file: Buffer, from: string, to: string): Buffer {
  assert.equal(to.length, from.length)
  const copy = Buffer.from(file)
  copy.write(to, copy.indexOf(`${from}\0`, 'latin1'), 'latin1')
  return copy
}

function withBytes (file: Buffer, offset: number, ...bytes: number[]): Buffer {
  const copy = Buffer.from(file)
  copy.set(bytes, offset)
  return copy
}

function refuses (file: Buffer, why: RegExp, glibc = BOOKWORM): void {
  assert.throws(() => withOldGlibc(file, glibc), error => {
    assert.ok(error instanceof GlibcShimError, String(error))
    assert.match(error.message, why)
    return true
  })
}

/** The file as it would be, or undefined when it is refused; anything else thrown fails the test. */
function attempt (file: Buffer, glibc: readonly number[] = BOOKWORM): Buffer | undefined {
  try {
    return withOldGlibc(file, glibc)
  } catch (error) {
    assert.ok(error instanceof GlibcShimError, String(error))
    return undefined
  }
}

suite('versions of glibc', () => {
  test('are read from symbols and from the running system', () => {
    assert.deepEqual(glibcVersion('GLIBC_2.2.5'), [2, 2, 5])
    assert.deepEqual(glibcVersion('2.36'), [2, 36])
    for (const none of ['GLIBC_PRIVATE', 'GLIBC_ABI_DT_RELR', 'GCC_3.0', '', '2', '2.36-debian', '99999.1']) assert.equal(glibcVersion(none), undefined)
  })

  test('compare as numbers, number by number', () => {
    assert.ok(isNewer([2, 38], [2, 36]))
    assert.ok(isNewer([2, 10], [2, 9]))
    assert.ok(isNewer([2, 2, 5], [2, 2]))
    assert.ok(!isNewer([2, 2], [2, 2, 5]))
    assert.ok(!isNewer([2, 36], [2, 36, 0]))
    assert.ok(!isNewer([2, 2, 5], [2, 17]))
  })
})

for (const { package: name, version } of PINNED_BUILDS) {
  const file = installed(name)
  suite(`${name} ${version}`, { skip: file === undefined ? `optional package ${name} is not installed` : false }, () => {
    const build = file ?? Buffer.alloc(0)
    const known = BUILDS[name]

    test('differs in five bytes, and the names are strtol and sscanf', () => {
      const copy = withOldGlibc(build, BOOKWORM)
      assert.deepEqual(changes(build, copy), known.changes)
      const [first, second] = known.changes.map(({ offset }) => stringAt(copy, known.strings + copy.readUInt32LE(offset)))
      assert.deepEqual([first, second].toSorted(), ['sscanf', 'strtol'])
    })

    test('is the same copy on every glibc that lacks two functions only', () => {
      assert.ok(withOldGlibc(build, JAMMY).equals(withOldGlibc(build, BOOKWORM)))
      assert.ok(withOldGlibc(build, [2, 34]).equals(withOldGlibc(build, BOOKWORM)))
    })

    test('is not changed in place, nor a second time', () => {
      const digest = createHash('sha512').update(build).digest('hex')
      const copy = withOldGlibc(build, BOOKWORM)
      assert.equal(createHash('sha512').update(build).digest('hex'), digest)
      refuses(copy, /^of GLIBC_2\.38 it needs nothing, not strtol and sscanf$/)
    })

    test('is refused where more than two functions are missing', () => {
      refuses(build, /^it needs pthread_\w+ of GLIBC_2\.34$/, [2, 33])
      refuses(build, /^it needs \w+ of GLIBC_2\.\d+$/, [2, 17])
    })

    test('is refused when it needs another new function, or another new version', () => {
      refuses(renamed(build, '__isoc23_strtol', '__isoc23_strtof'), /^it needs __isoc23_strtof of GLIBC_2\.38$/)
      refuses(renamed(build, '__isoc23_strtol', '__isoc24_strtol'), /^it needs __isoc24_strtol of GLIBC_2\.38$/)
      refuses(renamed(build, 'GLIBC_2.38', 'GLIBC_2.39'), /^it needs __isoc23_\w+ of GLIBC_2\.39$/)
      refuses(renamed(build, 'GLIBC_2.29', 'GLIBC_2.99'), /^it needs pow of GLIBC_2\.99$/)
      refuses(renamed(build, 'GLIBC_2.29', 'GLIBC_ABCD'), /^it needs GLIBC_ABCD of libm\.so\.6$/)
    })

    test('is refused when one of the two functions is missing, or there twice', () => {
      const [first, second, firstVersion] = known.changes
      assert.ok(first !== undefined && second !== undefined && firstVersion !== undefined)
      refuses(withBytes(build, first.offset, second.from), /^of GLIBC_2\.38 it needs (strtol and strtol|sscanf and sscanf), not strtol and sscanf$/)
      refuses(withBytes(build, firstVersion.offset, firstVersion.to), /^of GLIBC_2\.38 it needs (strtol|sscanf), not strtol and sscanf$/)
      refuses(withBytes(build, first.offset + 6, 1), /^it has __isoc23_\w+ itself$/)
    })

    test('is refused when class, byte order or machine are others', () => {
      refuses(withBytes(build, 0, 0), /^it is not an ELF file$/)
      refuses(withBytes(build, 4, 1), /^it is not a 64-bit little-endian ELF file$/)
      refuses(withBytes(build, 5, 2), /^it is not a 64-bit little-endian ELF file$/)
      refuses(withBytes(build, 18, 243), /^it is for machine 243, neither x86-64 nor arm64$/)
    })

    test('is refused when an offset lies outside of it', () => {
      refuses(withBytes(build, 32, 0, 0, 0, 0, 1), /^program header 0: outside of the file$/)
      refuses(withBytes(build, 32, 0, 0, 0, 0, 0, 0, 0, 255), /^the place of the program headers: out of range$/)
      refuses(withBytes(build, 40, 0, 0, 0, 0, 1), /^the section headers: outside of the file$/)
    })

    test('is refused cut off at any place', () => {
      fc.assert(fc.property(fc.nat({ max: build.length - 1 }), length => {
        assert.equal(attempt(build.subarray(0, length)), undefined)
      }), { numRuns: 300 })
    })

    test('with any bytes changed, is refused or changed by a few bytes in turn', () => {
      const head = fc.nat({ max: 0x2000 })
      const dynamic = fc.nat({ max: 0x1ff }).map(offset => known.dynamic + offset)
      const anywhere = fc.nat({ max: build.length - 1 })
      const place = fc.oneof({ weight: 3, arbitrary: head }, { weight: 2, arbitrary: dynamic }, { weight: 1, arbitrary: anywhere })
      const value = fc.oneof(fc.nat({ max: 255 }), fc.constantFrom(0, 1, 127, 128, 255))
      fc.assert(fc.property(fc.array(fc.tuple(place, value), { minLength: 1, maxLength: 8 }), mutations => {
        const mutated = Buffer.from(build)
        for (const [offset, byte] of mutations) mutated[offset] = byte
        const copy = attempt(mutated)
        if (copy !== undefined) assert.ok(changes(mutated, copy).length <= MOST_CHANGED_BYTES)
      }), { numRuns: 200 })
    })
  })
}

suite('bytes that are not an engine', () => {
  test('are refused', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 4_096 }), bytes => {
      assert.equal(attempt(Buffer.from(bytes)), undefined)
    }))
  })

  test('are refused behind the head of an ELF file', () => {
    const head = Buffer.from('7f454c4602010100000000000000000003003e0001000000', 'hex')
    fc.assert(fc.property(fc.uint8Array({ maxLength: 4_096 }), fc.nat({ max: 64 }), fc.integer({ min: 0, max: 8 }), (bytes, start, count) => {
      const file = Buffer.concat([head, Buffer.from(bytes)])
      if (file.length >= 64) {
        file.writeBigUInt64LE(BigInt(start), 32)
        file.writeBigUInt64LE(0n, 40)
        file.writeUInt16LE(56, 54)
        file.writeUInt16LE(count, 56)
      }
      assert.equal(attempt(file), undefined)
    }))
  })
})
