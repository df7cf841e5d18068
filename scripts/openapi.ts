import { writeFile } from 'node:fs/promises'
import { buildDocument, documentText } from './openapi-document.ts'

const { document } = await buildDocument()
await writeFile(new URL('../openapi.yaml', import.meta.url), documentText(document))
