/**
 * The calls of Linux's C library that Node does not offer: UDP segmentation offload, one system call for a whole burst of packets. Without
 * the optional package, or elsewhere than on Linux with x64, packets leave one by one over `node:dgram`.
 */
import { createRequire } from 'node:module'
import { constants } from 'node:os'

export interface Libc {
  /** A file descriptor, or -1. */
  socket (domain: number, type: number, protocol: number): number
  setsockopt (fd: number, level: number, name: number, value: Uint8Array, length: number): number
  bind (fd: number, address: Uint8Array, length: number): number
  close (fd: number): number
  /** Bytes sent, or -1. `message` is the address of a `struct msghdr`. */
  sendmsg (fd: number, message: bigint, flags: number): number
  /** Of the call before this one. */
  errno (): number
  /** Address of the first byte; stays as long as the buffer lives. */
  address (of: Uint8Array): bigint
}

interface Koffi {
  load (path: string): { func (declaration: string): (...values: unknown[]) => number }
  errno (): number
  address (of: Uint8Array): bigint
}

const PACKAGE = '@koromix/koffi-linux-x64'
let loaded: Libc | null | undefined

/** Null where it cannot be had. */
export function loadLibc (): Libc | null {
  // `struct msghdr` and its kin are laid out below for this platform only.
  if (loaded === undefined) loaded = process.platform === 'linux' && process.arch === 'x64' ? open() : null
  return loaded
}

function open (): Libc | null {
  try {
    const koffi = createRequire(import.meta.url)(PACKAGE) as Koffi
    const library = koffi.load('libc.so.6')
    const socket = library.func('int socket(int domain, int type, int protocol)')
    const setsockopt = library.func('int setsockopt(int fd, int level, int name, const void *value, uint32_t length)')
    const bind = library.func('int bind(int fd, const void *address, uint32_t length)')
    const close = library.func('int close(int fd)')
    const sendmsg = library.func('int64_t sendmsg(int fd, void *message, int flags)')
    return { socket, setsockopt, bind, close, sendmsg, errno: () => koffi.errno(), address: of => koffi.address(of) }
  } catch {
    return null
  }
}

/** The error Node would give for a failed call. */
export function systemError (call: string, errno: number, address: string, port: number): NodeJS.ErrnoException {
  const code = Object.entries(constants.errno).find(([, value]) => value === errno)?.[0] ?? `errno ${errno}`
  return Object.assign(new Error(`${call} ${code} ${address}:${port}`), { code, errno: -errno, syscall: call, address, port })
}
