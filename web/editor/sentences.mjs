/**
 * How the server words numbers and values in its messages, so that the editor says the same.
 * @module
 */

/**
 * A number with `digits` significant digits, as Python's format "g".
 * @param {number} value
 * @param {number} [digits]
 */
export function short(value, digits = 6) {
  if (Number.isNaN(value)) return "nan";
  if (!Number.isFinite(value)) return value > 0 ? "inf" : "-inf";
  if (value === 0) return Object.is(value, -0) ? "-0" : "0";
  const [mantissa, power] = value.toExponential(digits - 1).split("e");
  const exponent = Number(power);
  if (exponent >= -4 && exponent < digits) return String(Number(value.toPrecision(digits)));
  const sign = exponent < 0 ? "-" : "+";
  return `${Number(mantissa)}e${sign}${String(Math.abs(exponent)).padStart(2, "0")}`;
}

/** @param {string} text */
function quoted(text) {
  const quote = text.includes("'") && !text.includes('"') ? '"' : "'";
  const named = { "\\": "\\\\", "\n": "\\n", "\r": "\\r", "\t": "\\t", [quote]: `\\${quote}` };
  return quote + text.replace(/[\\\n\r\t'"]/g, (char) => named[char] ?? char) + quote;
}

/**
 * A JSON value as Python shows it.
 * @param {any} value
 * @param {boolean} [tuple] whether a list is shown as a tuple, as places are
 * @returns {string}
 */
export function repr(value, tuple = false) {
  if (value === null || value === undefined) return "None";
  if (value === true) return "True";
  if (value === false) return "False";
  if (typeof value === "string") return quoted(value);
  if (typeof value === "number") return Number.isInteger(value) ? String(value) : short(value, 17);
  if (Array.isArray(value)) {
    const inner = value.map((item) => repr(item)).join(", ");
    if (!tuple) return `[${inner}]`;
    return value.length === 1 ? `(${inner},)` : `(${inner})`;
  }
  return `{${Object.entries(value)
    .map(([key, item]) => `${quoted(key)}: ${repr(item)}`)
    .join(", ")}}`;
}
