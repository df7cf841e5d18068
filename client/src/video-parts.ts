/* What only whole videos need: loaded with the first manifest. */
export { parseManifest } from './manifest.ts'
export { assembleVideo } from './video.ts'
