/** What the page may do: its own scripts and styles, questions to this very listener, and nothing that turns text into markup or script. */
const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self'",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
  // Chromium then refuses every string where markup or script is expected, whoever puts it there.
  "require-trusted-types-for 'script'",
  "trusted-types 'none'"
].join('; ')

/** Of the page and of all that belongs to it. */
export const PAGE_HEADERS: Readonly<Record<string, string>> = {
  'content-security-policy': POLICY,
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'permissions-policy': 'camera=(), geolocation=(), microphone=()',
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff'
}
