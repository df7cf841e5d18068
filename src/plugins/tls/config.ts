import Type from 'typebox'
import { section } from '../../config/parts.ts'

/** Keys of `[tls]`. */
export const tlsConfig = section({
  cert: Type.String({ default: '', live: true, description: 'PEM file of the certificate chain; empty means self-signed, from the next start on' }),
  key: Type.String({ default: '', live: true, description: 'PEM file of the private key' }),
  hosts: Type.Array(Type.String({ pattern: '^[A-Za-z0-9.:-]{1,253}$' }), { default: [], maxItems: 32, description: 'names and addresses a self-signed certificate is for, besides localhost' })
}, 'Certificate of the viewer listeners.')
