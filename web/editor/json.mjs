/**
 * JSON as Python reads it: NaN and Infinity are numbers, and what does not parse is told with its line and column.
 * @module
 */

const NUMBER = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][-+]?\d+)?/y;
const WORDS = /** @type {const} */ ([
  ["null", null],
  ["true", true],
  ["false", false],
  ["NaN", NaN],
  ["Infinity", Infinity],
  ["-Infinity", -Infinity],
]);
const ESCAPES = { '"': '"', "\\": "\\", "/": "/", b: "\b", f: "\f", n: "\n", r: "\r", t: "\t" };

/** Text that is not JSON; `line` and `column` count from 1, the column in characters. */
export class JsonError extends Error {
  /**
   * @param {string} reason
   * @param {string} text
   * @param {number} at index into text, in UTF-16 units
   */
  constructor(reason, text, at) {
    super(reason);
    const before = text.slice(0, at).split("\n");
    this.line = before.length;
    this.column = [...before[before.length - 1]].length + 1;
  }
}

/**
 * The value that a JSON text holds.
 * @param {string} text
 * @returns {any}
 * @throws {JsonError}
 */
export function parseJson(text) {
  let at = 0;

  /**
   * @param {string} reason
   * @returns {never}
   */
  function fail(reason, where = at) {
    throw new JsonError(reason, text, where);
  }

  function skip() {
    while (at < text.length && " \t\n\r".includes(text[at])) at++;
  }

  function string() {
    const start = at++;
    let out = "";
    for (;;) {
      if (at >= text.length) fail("Unterminated string starting at", start);
      const char = text[at++];
      if (char === '"') return out;
      if (char < " ") fail("Invalid control character at", at - 1);
      if (char !== "\\") {
        out += char;
        continue;
      }
      if (at >= text.length) fail("Unterminated string starting at", start);
      const escape = text[at++];
      if (escape === "u") {
        const digits = text.slice(at, at + 4);
        if (!/^[0-9a-fA-F]{4}$/.test(digits)) fail("Invalid \\uXXXX escape");
        out += String.fromCharCode(parseInt(digits, 16));
        at += 4;
      } else if (escape in ESCAPES) {
        out += ESCAPES[/** @type {keyof typeof ESCAPES} */ (escape)];
      } else {
        fail("Invalid \\escape", at - 2);
      }
    }
  }

  function array() {
    /** @type {any[]} */
    const out = [];
    at++;
    skip();
    if (text[at] === "]") {
      at++;
      return out;
    }
    for (;;) {
      out.push(value());
      skip();
      if (text[at] === "]") break;
      if (text[at] !== ",") fail("Expecting ',' delimiter");
      at++;
      skip();
    }
    at++;
    return out;
  }

  function object() {
    /** @type {[string, any][]} */
    const out = [];
    at++;
    skip();
    if (text[at] === "}") {
      at++;
      return {};
    }
    for (;;) {
      if (text[at] !== '"') fail("Expecting property name enclosed in double quotes");
      const name = string();
      skip();
      if (text[at] !== ":") fail("Expecting ':' delimiter");
      at++;
      skip();
      out.push([name, value()]);
      skip();
      if (text[at] === "}") break;
      if (text[at] !== ",") fail("Expecting ',' delimiter");
      at++;
      skip();
    }
    at++;
    return Object.fromEntries(out);
  }

  /** @returns {any} */
  function value() {
    if (text[at] === '"') return string();
    if (text[at] === "[") return array();
    if (text[at] === "{") return object();
    for (const [word, meaning] of WORDS) {
      if (text.startsWith(word, at)) {
        at += word.length;
        return meaning;
      }
    }
    NUMBER.lastIndex = at;
    const number = NUMBER.exec(text);
    if (!number) fail("Expecting value");
    at += number[0].length;
    return Number(number[0]);
  }

  skip();
  const result = value();
  skip();
  if (at < text.length) fail("Extra data");
  return result;
}
