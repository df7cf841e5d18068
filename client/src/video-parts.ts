/* What only those with a manifest need: loaded with the first. */
export { blockRange } from './block-range.ts'
export { parseManifest } from './manifest.ts'
export { assembleVideo } from './video.ts'
