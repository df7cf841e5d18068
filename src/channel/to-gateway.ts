/**
 * Messages between the relay and its gateway process, over a channel with structured cloning. Bytes of an object cross
 * it only when no file holds them. What the gateway says is checked on arrival: see `from-gateway.ts`.
 */
import type { Spent } from '../admission/shared-buckets.ts'
import type { ErrorCode } from '../base/errors.ts'
import type { Config } from '../config/schema.ts'
import type { ObjectFacts } from '../protocol/answer.ts'
import type { PerTransport } from '../protocol/session-transports.ts'
import type { LiveSettings } from './live-settings.ts'

/** What a gateway needs to run and keeps; sent once, first, with the {@link LiveSettings}. */
export interface GatewaySettings {
  /** Sections of the configuration as they stand: a key that is added to one of them is there. */
  readonly viewer: Config['viewer']
  readonly transport: Config['transport']
  /** 0 for any. */
  readonly ports: PerTransport<number>
  /** Descriptor of a socket that WebSocket viewers come in by, where there is one already. */
  readonly websocketFd: number | undefined
  /** Where an engine file may be kept that was made for this system. */
  readonly engineDirectory: string
  /** Key of the tickets this gateway takes: another for each, so that none is taken twice. */
  readonly ticketKey: Uint8Array
  readonly version: string
  /** Time the disk has to open or read, ms. */
  readonly ioTimeoutMs: number
}

/** An object held for the gateway by the relay. */
export interface LeaseInfo extends ObjectFacts {
  readonly lease: number
  /**
   * File with the bytes, and the position up to which those from the start of the range on may be read now; undefined when the gateway has to ask for them.
   * `whole`: all of the object is in it. `byBlocks`: what may be read is verified; otherwise the last byte of an answer waits for the whole object.
   * `blocks`: SHA-256 of its blocks, each of which is verified before it goes out.
   */
  readonly file: { readonly path: string, readonly readable: number, readonly whole: boolean, readonly byBlocks: boolean, readonly blocks?: Uint8Array | undefined } | undefined
}

export interface Refusal {
  readonly code: ErrorCode
  readonly detail: string
  readonly retryAfterSeconds?: number | undefined
}

export type ToGateway =
  | { readonly type: 'start', readonly settings: GatewaySettings, readonly live: LiveSettings }
  /** In force from now on, also for sessions that exist. */
  | { readonly type: 'update', readonly live: Partial<LiveSettings> }
  /** Requests that addresses have sent over HTTP. */
  | { readonly type: 'spent', readonly spent: Spent }
  | { readonly type: 'resolved', readonly id: number, readonly info: LeaseInfo }
  | { readonly type: 'rejected', readonly id: number, readonly refusal: Refusal }
  /** More of growing files may be read; pairs of lease and bytes. */
  | { readonly type: 'progress', readonly leases: readonly (readonly [lease: number, readable: number])[] }
  | { readonly type: 'broken', readonly lease: number, readonly refusal: Refusal }
  /** Nothing more of it may be served. */
  | { readonly type: 'revoked', readonly lease: number, readonly refusal: Refusal }
  /** `file` names the file that holds the whole object now, if one does. */
  | { readonly type: 'bytes', readonly id: number, readonly chunk: Uint8Array, readonly file: string | undefined }
  | { readonly type: 'list', readonly id: number }
  | { readonly type: 'disconnect', readonly id: number, readonly session: string }
  /** End: sessions get `deadlineMs` to finish what they have under way. */
  | { readonly type: 'stop', readonly deadlineMs: number }

/** Sends one message; `sent` is called once, when the channel has taken it or is gone. Never throws. */
export type SendToGateway = (message: ToGateway, sent?: () => void) => void
