// Prints the name and result of each test of a run of cache-tests, by kind; copied into its checkout.
import fs from 'node:fs'
import suites from './tests/index.mjs'
import { determineTestResult, resultTypes } from './test-engine/lib/results.mjs'
const results = JSON.parse(fs.readFileSync(process.argv[2]))
const kinds = {}
for (const suite of suites) for (const test of suite.tests) {
  if (test.browser_only || test.cdn_only) continue
  const kind = test.kind ?? 'required'
  // Tests of interim responses need a package of npm.
  if (String(results[test.id]?.[1]).includes("Cannot find package 'undici'")) continue
  const result = determineTestResult(suites, test.id, results)
  const [name] = Object.entries(resultTypes).find(([, value]) => value === result);
  (kinds[kind] ??= []).push([test.id, name])
}
console.log(JSON.stringify(kinds))
