/** Parts that the drawings in `docs/` have in common. */
export const INK = '#1b1f24'
export const FAINT = '#57606a'

function escape (text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;')
}

/** @param content plain text @param style attributes, each with a space before it */
export function text (x: number | string, y: number | string, content: string, style = ''): string {
  return `<text x="${x}" y="${y}"${style}>${escape(content)}</text>`
}

/** A document of its own on white. @param title plain text @param lines elements */
export function svgDocument (width: number, height: number, title: string, lines: readonly string[]): string {
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" font-family="system-ui, 'Segoe UI', 'DejaVu Sans', sans-serif" font-size="12" fill="${INK}" role="img">`,
    `<title>${escape(title)}</title>`,
    `<rect width="${width}" height="${height}" fill="#ffffff"/>`,
    ...lines,
    '</svg>',
    ''
  ].join('\n')
}
