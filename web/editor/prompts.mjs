/**
 * The prompts text and what it says: the same rules, in the same order, as zoom_core/prompts.py and levels.py.
 *
 * Rows are the entries of the text: objects with `prompt` and, where a row needs more, `negative`, `zoom`, `center`.
 * @module
 */

import { JsonError, parseJson } from "./json.mjs";
import { dumped, repr, short } from "./sentences.mjs";

export const MIN_ZOOM = 1.25;
export const MAX_ZOOM = 16;
export const MAX_LEVELS = 64;
const EDGE_TOLERANCE = 1e-6;
const FIELDS = ["prompt", "negative", "zoom", "center"];
// Python's line ends and white space, which are not quite JavaScript's.
const LINE_ENDS = /\r\n|[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]/;
const SPACE = "[\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000]+";
const OUTER_SPACE = new RegExp(`^${SPACE}|${SPACE}$`, "g");

/**
 * @typedef {{prompt: any, negative?: any, zoom?: any, center?: any, [field: string]: any}} Row
 * @typedef {{negative: string, zoom: number | undefined, prefix?: string, suffix?: string}} Settings
 *   the node's other inputs; zoom is undefined where another node gives it
 * @typedef {{key: string, params: Record<string, string | number>, row?: number, field?: string}} Problem
 *   `key` names a sentence of words.mjs; row and field say where it belongs, where it belongs to one
 * @typedef {{prompt: string, negative: string, zoom: number, center: number[]}} Level
 */

/** @param {string} text */
export function strip(text) {
  return text.replace(OUTER_SPACE, "");
}

/**
 * The lines of a text that hold something, without the space around them.
 * @param {string} text
 */
export function lines(text) {
  return text.split(LINE_ENDS).map(strip).filter(Boolean);
}

/**
 * The rows of a prompts text; `problem` where the text can't be shown as rows (then the rows before it).
 * @param {string} text
 * @returns {{rows: Row[], problem: Problem | null}}
 */
export function readRows(text) {
  if (!/^[[{]/.test(strip(text))) return { rows: lines(text).map((prompt) => ({ prompt })), problem: null };
  let data;
  try {
    data = parseJson(text);
  } catch (error) {
    if (!(error instanceof JsonError)) throw error;
    const params = { line: error.line, column: error.column, reason: error.message };
    return { rows: [], problem: { key: "error.json", params } };
  }
  const rows = [];
  for (const [row, entry] of (Array.isArray(data) ? data : [data]).entries()) {
    if (typeof entry === "string") rows.push({ prompt: entry });
    else if (entry && typeof entry === "object" && !Array.isArray(entry)) rows.push({ ...entry });
    else return { rows, problem: { key: "error.entry", params: { row, got: dumped(entry) }, row } };
  }
  return { rows, problem: null };
}

/** @param {Row} row */
function plain(row) {
  return Object.keys(row).every((field) => field === "prompt" || row[field] === undefined);
}

/**
 * The text of rows: one prompt a line as long as no row needs more, else a JSON array with an entry a line.
 * @param {Row[]} rows
 */
export function writeRows(rows) {
  const typed = rows.map((row) => (typeof row.prompt === "string" ? strip(row.prompt) : row.prompt));
  const fits = rows.every((row, i) => plain(row) && typeof row.prompt === "string" && lines(typed[i]).length === 1);
  const text = typed.join("\n");
  if (fits && !/^[[{]/.test(text) && !LINE_ENDS.test(typed.join(""))) return text;
  if (rows.length === 0) return "";
  const entries = rows.map((row, i) =>
    plain(row) && typeof typed[i] === "string" ? typed[i] : { ...row, prompt: typed[i] },
  );
  return `[\n${entries.map((entry) => `  ${written(entry)}`).join(",\n")}\n]`;
}

/**
 * JSON with spaces, so that a person can read it; NaN and Infinity as Python writes them.
 * @param {any} value
 * @returns {string}
 */
function written(value) {
  if (Array.isArray(value)) return `[${value.map(written).join(", ")}]`;
  if (value && typeof value === "object") {
    const fields = Object.entries(value).filter(([, item]) => item !== undefined);
    return `{${fields.map(([key, item]) => `${JSON.stringify(key)}: ${written(item)}`).join(", ")}}`;
  }
  return typeof value === "number" ? dumped(value) : JSON.stringify(value);
}

/**
 * @param {any} value
 * @param {string} key
 * @param {Record<string, any>} where
 * @returns {Problem[]}
 */
function notANumber(value, key, where) {
  if (typeof value === "number") return [];
  return [{ key, params: { ...where, got: repr(value) }, row: where.row, field: where.field }];
}

/**
 * What is wrong with one row as level number `row`.
 * @param {Row} level
 * @param {number} row
 * @returns {Problem[]}
 */
function levelProblems(level, row) {
  /**
   * @param {string} key
   * @param {string} field
   * @param {Record<string, string | number>} params
   * @returns {Problem[]}
   */
  const problem = (key, field, params) => [{ key, params: { row, ...params }, row, field }];
  if (typeof level.negative !== "string") return problem("error.negative", "negative", { got: repr(level.negative) });
  const { center } = level;
  const zoom = level.zoom === undefined ? 2 : level.zoom;
  const wrongZoom = notANumber(zoom, "error.zoom.number", { row, field: "zoom" });
  if (wrongZoom.length) return wrongZoom;
  if (!(zoom >= MIN_ZOOM && zoom <= MAX_ZOOM) && !(row === 0 && zoom === 1)) {
    return problem("error.zoom.range", "zoom", { min: MIN_ZOOM, max: MAX_ZOOM, got: short(zoom) });
  }
  if (!Array.isArray(center) || center.length !== 2) {
    return problem("error.center", "center", { got: repr(center, true) });
  }
  for (const [i, axis] of ["x", "y"].entries()) {
    if (typeof center[i] !== "number") {
      return problem("error.center.number", "center", { axis, got: repr(center[i]) });
    }
  }
  for (const [i, axis] of ["x", "y"].entries()) {
    if (!(center[i] >= 0 && center[i] <= 1)) {
      return problem("error.center.range", "center", { axis, got: short(center[i]) });
    }
  }
  if (row === 0 || level.zoom === undefined) return [];
  const half = 0.5 / zoom;
  for (const [i, axis] of ["x", "y"].entries()) {
    if (center[i] - half < -EDGE_TOLERANCE || center[i] + half > 1 + EDGE_TOLERANCE) {
      const range = { low: short(half, 4), high: short(1 - half, 4) };
      return problem("error.center.outside", "center", { axis, got: short(center[i]), zoom: short(zoom), ...range });
    }
  }
  return [];
}

/**
 * A row with what it takes from the node's other inputs.
 * @param {Row} row
 * @param {number} index
 * @param {Settings} settings
 * @returns {Row}
 */
export function complete(row, index, settings) {
  const negatives = lines(settings.negative);
  const own = negatives.length === 1 ? negatives[0] : (negatives[index] ?? "");
  const given = Object.fromEntries(Object.entries(row).filter(([, value]) => value !== undefined));
  return { negative: own, zoom: settings.zoom, center: [0.5, 0.5], ...given, prompt: row.prompt };
}

/**
 * What is wrong with the entries of the text as such.
 * @param {Row[]} rows
 * @returns {Problem[]}
 */
function entryProblems(rows) {
  /** @type {Problem[]} */
  const found = [];
  for (const [row, entry] of rows.entries()) {
    const unknown = Object.keys(entry).find((key) => !FIELDS.includes(key));
    if (unknown !== undefined) {
      const params = { row, got: repr(unknown), fields: FIELDS.join(", ") };
      found.push({ key: "error.field", params, row, field: "prompt" });
    } else if (typeof entry.prompt !== "string" || !strip(entry.prompt)) {
      found.push({ key: "error.prompt", params: { row }, row, field: "prompt" });
    }
  }
  return found;
}

/**
 * Everything that is wrong with rows; the first is what the server would say.
 * @param {Row[]} rows
 * @param {Settings} settings
 * @returns {Problem[]}
 */
export function problemsOf(rows, settings) {
  const found = entryProblems(rows);
  if (rows.length === 0) found.push({ key: "error.empty", params: {} });
  if (rows.length > MAX_LEVELS) found.push({ key: "error.many", params: { count: rows.length, max: MAX_LEVELS } });
  const negatives = lines(settings.negative).length || 1;
  if (rows.length && negatives !== 1 && negatives !== rows.length) {
    found.push({ key: "error.negatives", params: { lines: negatives, count: rows.length } });
  }
  for (const [row, entry] of rows.entries()) found.push(...levelProblems(complete(entry, row, settings), row));
  return found;
}

/**
 * @param {string} prefix
 * @param {string} prompt
 * @param {string} suffix
 */
function joined(prefix, prompt, suffix) {
  const text = [strip(prefix), strip(prompt)].filter(Boolean).join(" ");
  const after = strip(suffix);
  return text + (!after || ",.;:".includes(after[0]) ? "" : " ") + after;
}

/**
 * The levels of a text as the server makes them, or the first problem.
 * @param {string} text
 * @param {Settings} settings
 * @returns {{levels: Level[]} | {problem: Problem}}
 */
export function parsePrompts(text, settings) {
  const { rows, problem } = readRows(text);
  const first = problem ? (entryProblems(rows)[0] ?? problem) : problemsOf(rows, settings)[0];
  if (first) return { problem: first };
  const { prefix = "", suffix = "" } = settings;
  const levels = rows.map((row, i) => {
    const level = complete(row, i, settings);
    const place = i === 0 ? { zoom: 1, center: [0.5, 0.5] } : { zoom: level.zoom, center: level.center };
    return { prompt: joined(prefix, level.prompt, suffix), negative: level.negative, ...place };
  });
  return { levels };
}
