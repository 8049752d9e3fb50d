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

/**
 * @param {string} label what a screen reader says, and the tooltip
 * @param {Node | string} face
 * @param {() => void} press
 */
export function button(label, face, press, className = "") {
  const element = el("button", { type: "button", className, title: label, "aria-label": label }, face);
  element.addEventListener("click", press);
  return element;
}

/** Keep events from what stands around an element. @param {HTMLElement} element @param {...string} names */
export function quiet(element, ...names) {
  for (const name of names) element.addEventListener(name, (event) => event.stopPropagation());
}
