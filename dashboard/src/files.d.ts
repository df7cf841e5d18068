/* What esbuild makes of files that are no scripts. */

declare module '*.css' {}

declare module '*.svg' {
  /** Where it is served. */
  const url: string
  export default url
}
