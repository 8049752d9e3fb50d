/**
 * The prompts text and what it says: the same rules, in the same order, as zoom_core/prompts.py and levels.py.
 *
 * Rows are the entries of the text: objects with `prompt` and, where a row needs more, `negative`, `zoom`, `center`.
 * @module
 */

import { repr, short } from "./sentences.mjs";

export const MIN_ZOOM = 1.25;
export const MAX_ZOOM = 16;
export const MAX_LEVELS = 64;
const EDGE_TOLERANCE = 1e-6;
const MAX_CHARACTERS = 1_000_000;
const MAX_LINES = 1000;
const FIELDS = ["prompt", "negative", "zoom", "center"];
// Python's line ends and white space, which are not quite JavaScript's.
const LINE_ENDS = /\r\n|[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]/;
const SPACE = "[\\t-\\r\\x1c-\\x20\\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000]+";
const KIND = "(?:level|scale|step|prompt|zoom(?:\\s+level)?|stage|layer|image|picture|frame|scene)";
const MARKED = new RegExp(
  "[<\\ufeff\\u200b\\u200e\\u200f\\u2060]|\\*\\*|[[{]\\s*[\"'\\u201c\\u2018{]|" +
    `^\\s*(?:[-*+#_=|\\u2022\\u2013\\u2014\\u25e6\\u25aa\\u27a4\\u2192]|\`\`\`|~~~|[#([]*\\d{1,2}\\s*[.):\\]\\u2013\\u2014-]|` +
    `${KIND}\\s*#?\\d|(?:prompt|description|text|caption)\\s*:)`,
  "i",
);
const RUN_ON = /(?:^|\s)\(?\d{1,2}[.)]\s/;
const TALK_BEFORE =
  /:\s*$|^\W*(?:(?:sure|certainly|of course|absolutely|okay|ok|great|alright|yes|here|below|these are|the following|let.s|i\b).*[.!]\s*$|sorry|i.m sorry|i am sorry|i can|i am unable|as an ai)/i;
const TALK_AFTER =
  /^\s*(?:let me know|i hope|feel free|would you like|these |note|each |if you|enjoy|hope this|this |all )/i;
const QUOTED = /^["'\u201c\u2018\u00ab`]/;
const PICTURE = /^(?:this |the |an? )?(?:image|picture|illustration|depiction)\s/i;
const OUTER_SPACE = new RegExp(`^${SPACE}|${SPACE}$`, "g");

/**
 * @typedef {{prompt: any, negative?: any, zoom?: any, center?: any, [field: string]: any}} Row
 * @typedef {{negative: string, zoom: number | undefined, loop?: boolean, count?: number,
 *   prefix?: string, suffix?: string}} Settings
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
 * Whether the server takes lines as they are: it finds prompts in what language models answer, too (zoom_core/answers.py),
 * and looks for numbers, bullets, headings, quotes, tags, tables, JSON, and talk before and after.
 * @param {string[]} texts
 */
export function areLines(texts) {
  const all = (/** @type {RegExp} */ pattern) => texts.every((text) => pattern.test(text));
  return (
    !texts.some((text) => MARKED.test(text)) &&
    !(texts.length === 1 && RUN_ON.test(texts[0])) &&
    !(texts.length && (TALK_BEFORE.test(texts[0]) || TALK_AFTER.test(texts[texts.length - 1]))) &&
    !(texts.length && (all(QUOTED) || all(PICTURE)))
  );
}

/**
 * The rows of a prompts text; null where only the server can read it.
 * @param {string} text
 * @returns {Row[] | null}
 */
export function readRows(text) {
  if (text.length > MAX_CHARACTERS) return null;
  if (!/^[[{]/.test(strip(text))) {
    const prompts = lines(text);
    return prompts.length < MAX_LINES && areLines(prompts) ? prompts.map((prompt) => ({ prompt })) : null;
  }
  try {
    const data = JSON.parse(text);
    if (!Array.isArray(data)) return null;
    const rows = data.map((entry) => (typeof entry === "string" ? { prompt: entry } : entry));
    const known = rows.every((row) => row && Object.keys(row).every((field) => FIELDS.includes(field)));
    const texts = rows.map((row) => row?.prompt);
    return known && texts.every((prompt) => typeof prompt === "string") && areLines(texts) ? rows : null;
  } catch {
    return null;
  }
}

/** @param {any} prompt */
function filled(prompt) {
  return typeof prompt === "string" && strip(prompt) !== "";
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
  if (fits && areLines(typed) && !/^[[{]/.test(text) && !LINE_ENDS.test(typed.join(""))) return text;
  if (rows.length === 0) return "";
  const entries = rows.map((row, i) =>
    plain(row) && typeof typed[i] === "string" ? typed[i] : { ...row, prompt: typed[i] },
  );
  return `[\n${entries.map((entry) => `  ${written(entry)}`).join(",\n")}\n]`;
}

/**
 * JSON with spaces, so that a person can read it.
 * @param {any} value
 * @returns {string}
 */
function written(value) {
  if (Array.isArray(value)) return `[${value.map(written).join(", ")}]`;
  if (value && typeof value === "object") {
    const fields = Object.entries(value).filter(([, item]) => item !== undefined);
    return `{${fields.map(([key, item]) => `${JSON.stringify(key)}: ${written(item)}`).join(", ")}}`;
  }
  return JSON.stringify(value);
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
 * @param {boolean} first whether no level lies around it
 * @returns {Problem[]}
 */
function levelProblems(level, row, first) {
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
  if (!(zoom >= MIN_ZOOM && zoom <= MAX_ZOOM) && !(first && zoom === 1)) {
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
  if (first || level.zoom === undefined) return [];
  const half = 0.5 / zoom;
  for (const [i, axis] of ["x", "y"].entries()) {
    if (center[i] - half < -EDGE_TOLERANCE || center[i] + half > 1 + EDGE_TOLERANCE) {
      const range = { low: short(half, 4), high: short(1 - half, 4) };
      return problem(row ? "error.center.outside" : "error.center.loop", "center", { axis, got: short(center[i]), zoom: short(zoom), ...range });
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
 * Everything that is wrong with rows; the first is what the server would say.
 * @param {Row[]} rows
 * @param {Settings} settings
 * @returns {Problem[]}
 */
export function problemsOf(rows, settings) {
  /** @type {Problem[]} */
  const found = rows.flatMap(({ prompt }, row) =>
    filled(prompt) ? [] : [{ key: "error.prompt", params: { row }, row, field: "prompt" }],
  );
  if (rows.length === 0) found.push({ key: "error.empty", params: {} });
  if (rows.length && settings.count && settings.count !== rows.length) {
    found.push({ key: "error.count", params: { count: rows.length, wanted: settings.count } });
  }
  if (rows.length > MAX_LEVELS) found.push({ key: "error.many", params: { count: rows.length, max: MAX_LEVELS } });
  const negatives = lines(settings.negative).length || 1;
  if (rows.length && negatives !== 1 && negatives !== rows.length) {
    found.push({ key: "error.negatives", params: { lines: negatives, count: rows.length } });
  }
  if (settings.loop && rows.length === 1) found.push({ key: "error.loop", params: {} });
  for (const [row, entry] of rows.entries()) {
    found.push(...levelProblems(complete(entry, row, settings), row, row === 0 && !settings.loop));
  }
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
 * The levels of rows as the server makes them, or the first problem.
 * @param {Row[]} rows
 * @param {Settings} settings
 * @returns {{levels: Level[]} | {problem: Problem}}
 */
export function levelsOf(rows, settings) {
  const [problem] = problemsOf(rows, settings);
  if (problem) return { problem };
  const { prefix = "", suffix = "", loop = false } = settings;
  const levels = rows.map((row, i) => {
    const level = complete(row, i, settings);
    const place = i || loop ? { zoom: level.zoom, center: level.center } : { zoom: 1, center: [0.5, 0.5] };
    return { prompt: joined(prefix, level.prompt, suffix), negative: level.negative, ...place };
  });
  return { levels };
}
