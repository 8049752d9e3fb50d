/**
 * One level as a row: grip, picture, prompt, zoom and place; its details open below it.
 * @module
 */

import { button, el } from "../viewer/dom.mjs";
import { Placing } from "./placing.mjs";
import { complete } from "./prompts.mjs";
import { repr, short } from "./sentences.mjs";
import { t } from "./words.mjs";

/**
 * @typedef {import("./prompts.mjs").Row} Row
 * @typedef {import("./prompts.mjs").Settings} Settings
 * @typedef {import("./prompts.mjs").Problem} Problem
 * @typedef {import("./placing.mjs").Place} Place
 * @typedef {{
 *   changed(): void, split(row: number, before: string, after: string): void, pasted(row: number, parts: string[]): void,
 *   joinUp(row: number): void, duplicate(row: number): void, remove(row: number): void, move(row: number, to: number): void,
 *   drag(row: number, event: PointerEvent): void, toggle(row: number): void, focus(row: number): void,
 * }} Actions
 */

/**
 * What a person typed into a number's field: nothing, a number, or the text itself, which the checks then name.
 * @param {string} typed
 */
export function typedNumber(typed) {
  const text = typed.trim().replace(",", ".");
  if (!text) return undefined;
  return /^[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$/i.test(text) ? Number(text) : typed.trim();
}

/** @param {any} value */
function shownNumber(value) {
  if (value === undefined) return "";
  return typeof value === "number" ? String(value) : typeof value === "string" ? value : repr(value);
}

/**
 * The place of a level for drawing; the middle where it is not one.
 * @param {Row} level
 * @returns {Place}
 */
function placeOf(level) {
  const zoom = typeof level.zoom === "number" && level.zoom >= 1 ? level.zoom : 2;
  const center = Array.isArray(level.center) ? level.center : [];
  const [x, y] = [0, 1].map((i) => (typeof center[i] === "number" && center[i] >= 0 && center[i] <= 1 ? center[i] : 0.5));
  return { zoom, center: [x, y] };
}

/** The row of one level. `data` is its entry, changed in place. */
export class LevelRow {
  /**
   * @param {Row} data
   * @param {number} index
   * @param {number} before the level around it, -1 for the outermost
   * @param {boolean} open
   * @param {Actions} actions
   */
  constructor(data, index, before, open, actions) {
    this.data = data;
    this.index = index;
    this.before = before;
    this.actions = actions;
    this.grip = button(t("move", { row: index }), String(index), () => {}, "zse-grip");
    this.grip.addEventListener("pointerdown", (event) => actions.drag(index, event));
    this.grip.addEventListener("keydown", (event) => this.#gripKey(event));
    this.thumb = el("img", { className: "zse-thumb", alt: "", draggable: false, hidden: true });
    this.thumb.addEventListener("load", () => (this.thumb.hidden = false));
    this.thumb.addEventListener("error", () => (this.thumb.hidden = true));
    this.prompt = this.#text("prompt", t("prompt", { row: index }), t("prompt.hint"));
    this.prompt.addEventListener("keydown", (event) => this.#promptKey(event));
    this.prompt.addEventListener("paste", (event) => this.#paste(event));
    this.problem = el("p", { className: "zse-problem", hidden: true, role: "alert" });
    this.zoomShown = el("span", {});
    this.map = el("i", {}, el("i", {}));
    this.chip = button(t("more", { row: index }), "", () => actions.toggle(index), "zse-chip");
    this.chip.append(...(before >= 0 ? [this.zoomShown, this.map] : [el("span", {}, "···")]));
    this.chip.setAttribute("aria-expanded", String(open));
    const body = el("div", { className: "zse-body" }, this.#grown(this.prompt), this.problem);
    this.element = el("li", { className: "zse-row" }, this.grip, this.thumb, body, this.chip);
    if (open) this.element.append(this.#details());
  }

  /** @param {HTMLTextAreaElement} area */
  #grown(area) {
    const box = el("div", { className: "zse-grow" }, area);
    const follow = () => (box.dataset.text = area.value);
    area.addEventListener("input", follow);
    follow();
    return box;
  }

  /**
   * @param {"prompt" | "negative"} field
   * @param {string} label
   * @param {string} placeholder
   */
  #text(field, label, placeholder) {
    const value = this.data[field];
    const area = el("textarea", { rows: 1, placeholder, spellcheck: false, dir: "auto", "aria-label": label });
    area.value = value === undefined ? "" : typeof value === "string" ? value : repr(value);
    area.addEventListener("input", () => {
      const empty = field === "negative" && !area.value.trim();
      this.data[field] = empty ? undefined : area.value;
      this.actions.changed();
    });
    return area;
  }

  #details() {
    const { index, before, actions } = this;
    this.negative = this.#text("negative", t("negative"), "");
    const tools = el(
      "div",
      { className: "zse-tools" },
      button(t("duplicate"), t("duplicate"), () => actions.duplicate(index)),
      button(t("remove"), t("remove"), () => actions.remove(index), "zse-remove"),
    );
    const fields = el("div", { className: "zse-fields" });
    if (before < 0) fields.append(el("p", { className: "zse-hint" }, t("outermost")));
    else {
      this.zoom = this.#number(t("zoom"), shownNumber(this.data.zoom), (value) => (this.data.zoom = value));
      const center = Array.isArray(this.data.center) ? this.data.center : [];
      this.centers = ["x", "y"].map((axis, i) => this.#number(axis, shownNumber(center[i]), (value) => this.#center(i, value)));
      const numbers = [this.zoom, ...this.centers].map((input) => input.parentElement ?? input);
      fields.append(el("div", { className: "zse-numbers" }, ...numbers));
    }
    fields.append(el("label", { className: "zse-field" }, t("negative"), this.#grown(this.negative)), tools);
    const details = el("div", { className: "zse-details" });
    if (before >= 0) {
      this.placing = new Placing(index, before, (place) => this.setPlace(place));
      details.append(el("div", {}, this.placing.element, el("p", { className: "zse-hint" }, t("place.hint"))));
    }
    details.append(fields);
    return details;
  }

  /**
   * @param {string} label
   * @param {string} value
   * @param {(value: any) => void} set
   */
  #number(label, value, set) {
    const input = el("input", { type: "text", inputMode: "decimal", value, autocomplete: "off" });
    input.addEventListener("input", () => {
      set(typedNumber(input.value));
      this.actions.changed();
    });
    el("label", { className: "zse-field" }, label, input);
    return input;
  }

  /**
   * @param {number} axis
   * @param {any} value
   */
  #center(axis, value) {
    const center = Array.isArray(this.data.center) ? [...this.data.center] : [0.5, 0.5];
    center[axis] = value ?? 0.5;
    this.data.center = center.every((v) => v === 0.5) ? undefined : center;
  }

  /**
   * Put the level there, and its numbers into the fields.
   * @param {Place} place
   */
  setPlace({ zoom, center }) {
    const before = placeOf(this.level ?? this.data);
    if (zoom !== before.zoom) this.data.zoom = zoom;
    this.data.center = center.every((v) => v === 0.5) ? undefined : center;
    if (this.zoom) this.zoom.value = shownNumber(this.data.zoom);
    for (const [i, input] of (this.centers ?? []).entries()) input.value = shownNumber(this.data.center?.[i]);
    this.actions.changed();
  }

  /**
   * Show what depends on the other rows and on the node's other inputs.
   * @param {Settings} settings
   * @param {Problem[]} problems of this row
   * @param {(string | undefined)[]} pictures of all levels
   */
  refresh(settings, problems, pictures) {
    this.level = complete(this.data, this.index, settings);
    this.problem.hidden = problems.length === 0;
    this.problem.textContent = problems.map(({ key, params }) => t(key, params)).join(" ");
    this.element.classList.toggle("zse-wrong", problems.length > 0);
    for (const field of /** @type {const} */ (["prompt", "negative", "zoom"])) {
      const wrong = problems.some((problem) => problem.field === field);
      this[field]?.setAttribute("aria-invalid", String(wrong));
    }
    for (const input of this.centers ?? []) {
      input.setAttribute("aria-invalid", String(problems.some((problem) => problem.field === "center")));
      input.placeholder = "0.5";
    }
    if (this.zoom) this.zoom.placeholder = settings.zoom === undefined ? "" : short(settings.zoom);
    if (this.negative) this.negative.placeholder = complete({ prompt: "" }, this.index, settings).negative;
    const place = placeOf(this.level);
    this.zoomShown.textContent = typeof this.level.zoom === "number" ? `×${short(this.level.zoom, 4)}` : "×?";
    this.zoomShown.className = this.data.zoom === undefined ? "zse-taken" : "";
    const side = 100 / place.zoom;
    Object.assign(/** @type {HTMLElement} */ (this.map.firstChild).style, {
      width: `${side}%`,
      height: `${side}%`,
      left: `${place.center[0] * 100 - side / 2}%`,
      top: `${place.center[1] * 100 - side / 2}%`,
    });
    this.placing?.show(place);
    this.placing?.picture(pictures[this.before]);
    const picture = pictures[this.index];
    if (!picture) this.thumb.hidden = true;
    else if (this.thumb.getAttribute("src") !== picture) this.thumb.src = picture;
  }

  /** @param {KeyboardEvent} event */
  #gripKey(event) {
    const { index, actions } = this;
    const step = { ArrowUp: -1, ArrowDown: 1 }[event.key];
    if (step && event.altKey) actions.move(index, index + step);
    else if (step) actions.focus(index + step);
    else if (event.key === "Delete" || event.key === "Backspace") actions.remove(index);
    else if (event.key === "d" && (event.ctrlKey || event.metaKey)) actions.duplicate(index);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  /** @param {KeyboardEvent} event */
  #promptKey(event) {
    const { prompt, index, actions } = this;
    if (event.isComposing) return;
    if (event.altKey && (event.key === "ArrowUp" || event.key === "ArrowDown")) {
      actions.move(index, index + (event.key === "ArrowUp" ? -1 : 1));
    } else if (event.key === "Enter" && !event.shiftKey && !event.ctrlKey && !event.metaKey) {
      actions.split(index, prompt.value.slice(0, prompt.selectionStart), prompt.value.slice(prompt.selectionEnd));
    } else if (event.key === "Backspace" && prompt.selectionEnd === 0 && index > 0) {
      actions.joinUp(index);
    } else return;
    event.preventDefault();
    event.stopPropagation();
  }

  /** @param {ClipboardEvent} event */
  #paste(event) {
    const text = event.clipboardData?.getData("text/plain") ?? "";
    const parts = text.split(/\r?\n/).filter((part) => part.trim());
    if (parts.length < 2) return;
    event.preventDefault();
    const { prompt } = this;
    parts[0] = prompt.value.slice(0, prompt.selectionStart) + parts[0];
    parts[parts.length - 1] += prompt.value.slice(prompt.selectionEnd);
    this.actions.pasted(this.index, parts);
  }
}
