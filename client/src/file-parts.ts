/* What reads files: loaded with the first that is opened. */
export { IcnFile } from './icn-file.ts'
export { fileResponse, problemResponse } from './file-response.ts'
export { PieceStore } from './piece-store.ts'
