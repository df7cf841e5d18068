export interface Metered {
  readonly name: string
  readonly pid: number
}
