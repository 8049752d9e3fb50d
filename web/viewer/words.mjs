/** What the viewer says; the words of every language lie in web/words. */

/** @type {Record<string, string>} */
let table;

/** Choose a language. @param {Record<string, string>} words all that is said in it, by key */
export function speak(words) {
  table = words;
}

/** The words for a key. @param {string} key @param {Record<string, string | number>} [values] */
export const t = (key, values) => filled(table[key], values);

/** Words with {names} filled in. @param {string} words @param {Record<string, string | number>} values */
export function filled(words, values = {}) {
  return words.replace(/\{(\w+)\}/g, (gap, name) => String(values[name] ?? gap));
}

/** A magnification for reading: "× 4,096", "× 3.2 · 10¹²". @param {number} log its natural logarithm */
export function magnification(log) {
  const value = Math.exp(log);
  if (value < 0.995) return `× ${value.toFixed(2)}`;
  if (value < 9.95) return `× ${Number(value.toFixed(1))}`;
  if (value < 999_999.5) return `× ${Math.round(value).toLocaleString("en-US")}`;
  const [digits, power] = value.toExponential(1).split("e+");
  return `× ${digits} · 10${power.replace(/\d/g, (digit) => "⁰¹²³⁴⁵⁶⁷⁸⁹"[digit])}`;
}
