/** Elements, by text only: nothing that a person typed is ever read as HTML. */

/**
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {Record<string, any>} [props] properties, or attributes where the name has a dash or is `role`
 * @param {...(Node | string)} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export function el(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (name.includes("-") || name === "role") element.setAttribute(name, String(value));
    else /** @type {any} */ (element)[name] = value;
  }
  element.append(...children);
  return element;
}

/** What a screen reader says of an element, and its tooltip. @param {HTMLElement} element @param {string} words */
export function label(element, words) {
  element.title = words;
  element.setAttribute("aria-label", words);
}

/** @param {string} words its label @param {Node | string} face @param {() => void} press */
export function button(words, face, press, className = "") {
  const element = el("button", { type: "button", className, onclick: press }, face);
  label(element, words);
  return element;
}

/** Write words where they changed; a document's layout is not disturbed by the same words again. */
export function put(element, words) {
  if (element.textContent !== words) element.textContent = words;
}

/** Keep events from what stands around an element. @param {HTMLElement} element @param {...string} names */
export function quiet(element, ...names) {
  for (const name of names) element.addEventListener(name, (event) => event.stopPropagation());
}
