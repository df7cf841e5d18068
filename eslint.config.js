import neostandard from 'neostandard'
import tseslint from 'typescript-eslint'

const typed = ['src/**/*.ts', 'client/**/*.ts', 'test/**/*.ts', 'demo/**/*.ts', 'scripts/**/*.ts', 'benchmarks/**/*.ts', 'autocannon/**/*.ts', 'compare/**/*.ts', 'tools/**/*.ts', 'dashboard/src/**/*.{ts,tsx}']

export default tseslint.config(
  { ignores: ['dist/**', 'client/dist/**', 'coverage/**', 'node_modules/**', 'test/support/openapi-types.d.ts'] },
  ...neostandard({ ts: true }),
  { rules: { '@stylistic/arrow-parens': ['error', 'as-needed'] } },
  {
    files: typed,
    extends: [tseslint.configs.recommendedTypeChecked],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
      '@typescript-eslint/no-floating-promises': ['error', { allowForKnownSafeCalls: [{ from: 'package', package: 'node:test', name: ['test', 'it', 'describe', 'suite'] }] }],
      '@typescript-eslint/no-explicit-any': 'error',
      '@typescript-eslint/no-non-null-assertion': 'error',
      '@typescript-eslint/switch-exhaustiveness-check': 'error',
      '@typescript-eslint/consistent-type-imports': 'error',
      '@typescript-eslint/require-await': 'off',
      // `void promise` is how a promise is left to itself on purpose.
      'no-void': 'off',
      // A private member is private at run time too; a constructor cannot be.
      'no-restricted-syntax': ['error', { selector: ':matches(PropertyDefinition, TSParameterProperty, MethodDefinition[kind!="constructor"])[accessibility="private"]', message: 'write #name' }],
      'max-lines': ['error', { max: 320, skipBlankLines: false }]
    }
  },
  // A test waits for what a callback changes, which the rule cannot see.
  { files: ['test/**/*.ts', 'tools/harness/**/*.ts'], rules: { 'max-lines': 'off', 'no-unmodified-loop-condition': 'off' } },
  { files: ['test/support/deno-viewer.mjs'], languageOptions: { globals: { WebTransport: 'readonly', Deno: 'readonly' } } },
  {
    files: ['demo/player/**/*.js', 'compare/clients/browser-page.js'],
    languageOptions: { globals: { window: 'readonly', document: 'readonly', fetch: 'readonly', crypto: 'readonly', performance: 'readonly', MediaSource: 'readonly', URL: 'readonly', URLSearchParams: 'readonly', location: 'readonly' } }
  }
)
