/**
 * What the level editor says; the words of every language lie in web/words.
 * @module
 */

import { filled } from "../viewer/words.mjs";

/** @type {Record<string, string>} */
let table;

/**
 * Choose a language.
 * @param {Record<string, string>} words all that is said in it, by key
 */
export function speak(words) {
  table = words;
}

/**
 * A sentence with its gaps filled.
 * @param {string} key
 * @param {Record<string, string | number>} [params]
 */
export function t(key, params) {
  return filled(table[key], params);
}
