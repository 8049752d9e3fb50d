/**
 * What the level editor says. The sentences of errors are the server's own (zoom_core/prompts.py and levels.py).
 * @module
 */

/** @type {Record<string, string>} */
export const WORDS = {
  "error.prompt": "prompts: entry {row} needs a 'prompt' that is not empty.",
  "error.empty": "prompts is empty: write at least one prompt, one a line, outermost first.",
  "error.count": "prompts has {count} levels, expected {wanted}.",
  "error.loop": "loop needs at least 2 levels, got 1.",
  "error.many": "prompts has {count} entries, at most {max} levels are possible.",
  "error.negatives": "negative has {lines} lines, prompts has {count} entries: give 1 or {count}.",
  "error.negative": "level {row}: negative must be text, got {got}.",
  "error.zoom.number": "level {row}: zoom must be a number, got {got}.",
  "error.zoom.range": "level {row}: zoom must be from {min} to {max}, got {got}.",
  "error.center": "level {row}: center must be two numbers (x, y) in 0..1, got {got}.",
  "error.center.number": "level {row}: center {axis} must be a number, got {got}.",
  "error.center.range": "level {row}: center {axis} must be in 0..1, got {got}.",
  "error.center.outside":
    "level {row}: center {axis} = {got} puts part of the inset outside the level before it; " +
    "at zoom {zoom} it must be from {low} to {high}.",
  "error.center.loop":
    "level {row}: center {axis} = {got} puts part of the inset outside the innermost level, which holds it in a loop; " +
    "at zoom {zoom} it must be from {low} to {high}.",
  "error.server": "The server does not answer: these prompts can only be edited as text.",
  "add": "Add level",
  "text": "Edit as text",
  "rows": "Edit as rows",
  "linked": "The prompts come from another node.",
  "count.one": "1 level",
  "count": "{count} levels · ×\u00a0{zoom} in all",
  "level": "Level {row}",
  "prompt": "Prompt of level {row}",
  "prompt.hint": "What this level shows",
  "negative": "Negative",
  "zoom": "Zoom",
  "place.hint": "Drag the frame to where this level lies; drag a corner to change its zoom.",
  "place.none": "The picture of level {row} appears here after a run.",
  "place.frame": "Frame of level {row} on level {before}: arrows move it, + and - change its zoom",
  "more": "Details of level {row}",
  "move": "Level {row}. Drag to move it, or Alt and up or down",
  "duplicate": "Duplicate",
  "remove": "Remove",
  "outermost": "The outermost level: the others lie inside it.",
  "moved": "Level {row} is now level {to}.",
  "removed": "Level {row} removed.",
  "added": "Level {row} added.",
};

/** @type {Record<string, string>} */
let table = {};

/**
 * Choose the words of a language; what it lacks stays English.
 * @param {Record<string, string>} words
 */
export function speak(words) {
  table = words;
}

/**
 * A sentence with its gaps filled.
 * @param {string} key
 * @param {Record<string, string | number>} [params]
 */
export function t(key, params = {}) {
  const words = table[key] ?? WORDS[key];
  return words.replace(/\{(\w+)\}/g, (gap, name) => (name in params ? String(params[name]) : gap));
}
