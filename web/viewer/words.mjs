/** What the viewer says, in one table a language; English is what others fall back to. */

/** @type {Record<string, Record<string, string>>} */
export const WORDS = {
  en: {
    stage: "Zoom view. Arrow keys move, plus and minus zoom, space plays, F is full screen.",
    rail: "Levels",
    level: "level {level} of {levels}",
    play: "Play",
    pause: "Pause",
    speed: "Speed {speed} times",
    home: "Whole first level",
    fullscreen: "Full screen",
    leave: "Leave full screen",
    place: "Put the next level here",
    loading: "Loading",
    empty: "Run the workflow to fly through its zoom.",
    gone: "The pictures are gone. Run the workflow again.",
    missing: "Level {level} could not be loaded. Run the workflow again.",
    sampling: "Sampling",
    page: "Download {file}",
    click: "Click to zoom with the wheel",
  },
};

let table = WORDS.en;

/** Choose a language, such as "fr" or "pt-BR", or another of its kind. Gives the one that is spoken. */
export function speak(language) {
  const [kind] = language.split("-");
  const near = Object.keys(WORDS).find((name) => name.split("-")[0] === kind);
  const found = [language, kind, near].find((name) => name in WORDS) ?? "en";
  table = WORDS[found];
  return found;
}

/** The words for a key, with {names} filled in. @param {string} key @param {Record<string, string | number>} values */
export function t(key, values = {}) {
  return (table[key] ?? WORDS.en[key]).replace(/\{(\w+)\}/g, (whole, name) => String(values[name] ?? whole));
}

/** A magnification for reading: "× 4,096", "× 3.2 · 10¹²". @param {number} log its natural logarithm */
export function magnification(log) {
  const value = Math.exp(log);
  if (value < 0.995) return `× ${value.toFixed(2)}`;
  if (value < 9.95) return `× ${Number(value.toFixed(1))}`;
  if (value < 999_999.5) return `× ${Math.round(value).toLocaleString("en-US")}`;
  const [digits, power] = value.toExponential(1).split("e+");
  return `× ${digits} · 10${power.replace(/\d/g, (digit) => "⁰¹²³⁴⁵⁶⁷⁸⁹"[Number(digit)])}`;
}
