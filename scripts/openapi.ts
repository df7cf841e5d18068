import { writeFile } from 'node:fs/promises'
import { buildDocument, documentText } from './openapi-document.ts'
import { TYPES_FILE, typesText } from './openapi-types.ts'

const { document } = await buildDocument()
await writeFile(new URL('../openapi.yaml', import.meta.url), documentText(document))
await writeFile(TYPES_FILE, await typesText(document))
