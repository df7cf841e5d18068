import type { ClientPlatform } from './platform.ts'

/** Whether the page of a client is there; always, where there is no page. */
export class PagePresence {
  readonly #forget: () => void
  #away: Promise<void> | undefined
  #wake = (): void => {}

  constructor (platform: ClientPlatform, left: () => void, back: () => void) {
    this.#forget = platform.onPage?.(event => {
      if (event === 'left' && this.#away === undefined) {
        this.#away = new Promise(resolve => { this.#wake = resolve })
        left()
      } else if (event === 'back' && this.#away !== undefined) {
        this.end()
        back()
      }
    }) ?? (() => {})
  }

  get isAway (): boolean { return this.#away !== undefined }

  /** Resolves when the page is there. */
  async wait (): Promise<void> { await this.#away }

  /** Whoever waits is let go. */
  end (): void {
    this.#away = undefined
    this.#wake()
  }

  close (): void {
    this.#forget()
    this.end()
  }
}
