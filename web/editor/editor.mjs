/**
 * The level editor: rows over a prompts text, which stays the only truth.
 * @module
 */

import { button, el } from "../viewer/dom.mjs";
import { settled } from "./placing.mjs";
import { MAX_LEVELS, complete, lines, problemsOf, readRows, writeRows } from "./prompts.mjs";
import { LevelRow } from "./row.mjs";
import { short } from "./sentences.mjs";
import { addStyle } from "./style.mjs";
import { t } from "./words.mjs";

/**
 * @typedef {import("./prompts.mjs").Row} Row
 * @typedef {import("./prompts.mjs").Settings} Settings
 * @typedef {{
 *   value(name: string): any, write(name: string, value: any): void, linked(name: string): boolean,
 *   read(text: string): Promise<{rows?: Row[], error?: string}>, asText(): boolean, showText(on: boolean): any,
 *   pictures(): (string | undefined)[], passWheel(event: WheelEvent): void,
 *   hideText(hidden: boolean): void, resized(): void,
 * }} Host what the editor asks of the node that it stands on, with its inputs by their names
 */

// Sizes in the graph's units.
export const MARGIN = 6;
const BAR = 36;
const ROW = 40;
const MOST = 520;
const OPEN = 420;

export class LevelEditor {
  /** @param {Host} host */
  constructor(host) {
    addStyle();
    this.host = host;
    /** @type {Row[]} */
    this.rows = [];
    /** @type {LevelRow[]} */
    this.views = [];
    /** @type {Row | undefined} the row whose details are open */
    this.opened = undefined;
    this.written = /** @type {string | null} */ (null);
    this.count = el("span", { className: "zse-count" });
    this.addButton = button(t("add"), `+ ${t("add")}`, () => this.#add());
    this.modeButton = button(t("text"), t("text"), () => this.#mode(!host.asText()));
    this.problem = el("p", { className: "zse-problem", hidden: true, role: "alert" });
    this.list = el("ol", { className: "zse-rows" });
    this.live = el("p", { className: "zse-live", "aria-live": "polite" });
    const head = el("div", { className: "zse-head" }, this.count, this.addButton, this.modeButton);
    this.element = el("div", { className: "zse", role: "group", "aria-label": t("level", { row: "" }).trim() });
    this.element.dataset.captureWheel = "true";
    this.element.append(head, this.problem, this.list, this.live);
    this.element.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
    // The graph's own shortcuts (Delete removes a node) are not for keys pressed in here.
    this.element.addEventListener("keydown", (event) => {
      if (!event.ctrlKey && !event.metaKey) event.stopPropagation();
    });
    for (const kind of ["pointerdown", "mousedown"]) this.element.addEventListener(kind, (e) => e.stopPropagation());
  }

  /** Read the text anew where it is not what was written here, and show everything as it is now. */
  refresh() {
    const text = String(this.host.value("prompts") ?? "");
    if (text !== this.written) {
      this.written = text;
      const rows = readRows(text);
      this.#take(rows ?? [], "");
      if (!rows) this.#ask(text);
    }
    this.#show();
  }

  /**
   * @param {Row[]} rows
   * @param {string} unreadable what the server says about a text that has none
   */
  #take(rows, unreadable) {
    this.rows = rows;
    this.unreadable = unreadable;
    this.opened = undefined;
    this.#build();
  }

  /** @param {string} text that only the server can read */
  async #ask(text) {
    this.asking = true;
    const { rows = [], error = "" } = await this.host.read(text).catch(() => ({ rows: [], error: t("error.server") }));
    if (text !== this.written) return;
    this.asking = false;
    this.#take(rows, error);
    this.#show();
  }

  #settings() {
    const { host } = this;
    const value = (/** @type {string} */ name, /** @type {any} */ other) =>
      host.linked(name) ? other : (host.value(name) ?? other);
    return {
      negative: String(value("negative", "")),
      loop: Boolean(host.value("loop")),
      count: Number(value("count", 0)),
      zoom: value("zoom", undefined),
    };
  }

  /** Whether the text stands in place of the rows. */
  get textShown() {
    return this.host.asText() || this.host.linked("prompts");
  }

  /** By the number of rows, never by the element's own size, which follows from this. */
  get height() {
    const { rows, problem, opened } = this;
    if (this.textShown || !rows.length) return BAR + (problem.hidden ? 0 : ROW);
    return Math.max(Math.min(BAR + ROW * rows.length, MOST), opened ? OPEN : 0);
  }

  /** Whether there are rows to change. */
  get editable() {
    return !this.unreadable && !this.asking && !this.host.linked("prompts");
  }

  /**
   * Put a level somewhere in the one before it, as the viewer asks; makes the level where there is none.
   * @param {number} level
   * @param {{zoom: number, center: [number, number]}} place
   */
  place(level, place) {
    if (!this.editable || !this.#placeable(level)) return;
    if (level === this.rows.length) this.#insert(level, { prompt: "" });
    this.opened = this.rows[level];
    this.#build();
    this.views[level].setPlace(settled(place));
    this.views[level].element.scrollIntoView({ block: "nearest" });
    this.views[level].prompt.focus();
  }

  /** @param {number} level */
  #placeable(level) {
    return level >= (this.loop ? 0 : 1) && level <= this.rows.length && level < MAX_LEVELS;
  }

  #build() {
    const actions = {
      changed: () => this.#changed(),
      split: this.#split.bind(this),
      pasted: this.#pasted.bind(this),
      joinUp: this.#joinUp.bind(this),
      duplicate: this.#duplicate.bind(this),
      remove: this.#remove.bind(this),
      move: this.#move.bind(this),
      drag: this.#drag.bind(this),
      toggle: this.#toggle.bind(this),
      focus: (/** @type {number} */ row) => this.views[row]?.grip.focus(),
    };
    this.loop = this.#settings().loop;
    const before = (/** @type {number} */ i) => (i || !this.loop ? i - 1 : this.rows.length - 1);
    this.views = this.rows.map((row, i) => new LevelRow(row, i, before(i), row === this.opened, actions));
    this.list.replaceChildren(...this.views.map((view) => view.element));
  }

  #show() {
    const { host } = this;
    const settings = this.#settings();
    const linked = host.linked("prompts");
    const asText = host.asText() && !linked;
    const closed = Boolean(this.unreadable || this.asking);
    const found = closed ? [] : problemsOf(this.rows, settings);
    const [general] = found.filter((problem) => asText || problem.row === undefined);
    const words = this.unreadable || (general ? t(general.key, general.params) : "");
    this.problem.hidden = linked || !words;
    this.problem.textContent = words;
    this.list.hidden = asText || linked || closed;
    this.addButton.hidden = this.list.hidden || this.rows.length >= MAX_LEVELS;
    this.modeButton.hidden = linked;
    this.modeButton.textContent = this.modeButton.title = t(asText ? "rows" : "text");
    this.modeButton.setAttribute("aria-label", this.modeButton.title);
    this.count.textContent = linked ? t("linked") : this.#summary(settings);
    this.#arrange();
    if (this.list.hidden) return;
    if (settings.loop !== this.loop) this.#build();
    const pictures = host.pictures();
    for (const [i, view] of this.views.entries()) {
      view.refresh(settings, found.filter((problem) => problem.row === i), pictures.length === this.rows.length ? pictures : []);
    }
  }

  /** Show the text or hide it, and have room for the rows. */
  #arrange() {
    this.host.hideText(!this.textShown);
    const wanted = `${this.height - 2 * MARGIN}px`;
    if (this.element.style.minHeight === wanted) return;
    this.element.style.minHeight = wanted;
    this.host.resized();
  }

  /** @param {Settings} settings */
  #summary(settings) {
    if (this.unreadable || this.asking) return "";
    if (this.rows.length === 1) return t("count.one");
    const zooms = this.rows.map((row, i) => complete(row, i, settings).zoom).slice(settings.loop ? 0 : 1);
    const whole = zooms.reduce((product, zoom) => product * (typeof zoom === "number" ? zoom : NaN), 1);
    const shown = whole >= 1e15 ? short(whole, 3) : Math.round(whole).toLocaleString("en");
    return t("count", { count: this.rows.length, zoom: Number.isFinite(whole) ? shown : "?" });
  }

  #changed() {
    this.written = writeRows(this.rows);
    this.host.write("prompts", this.written);
    this.#show();
  }

  /**
   * Change which rows there are. Where every row has a line of its own in `negative`, the lines go with their rows.
   * @param {Function} change (list, make) done to the rows, and to the lines
   */
  #restructure(change) {
    const negatives = lines(this.#settings().negative);
    const follow = negatives.length > 1 && negatives.length === this.rows.length;
    change(this.rows);
    if (follow) {
      change(negatives);
      this.host.write("negative", negatives.join("\n"));
    }
    this.#changed();
    this.#build();
    this.#show();
  }

  /**
   * @param {number} at
   * @param {Row} row
   */
  #insert(at, row) {
    this.#restructure((list) => list.splice(at, 0, list === this.rows ? row : list[Math.max(0, at - 1)]));
  }

  /**
   * @param {number} row
   * @param {number} [caret]
   */
  #edit(row, caret) {
    const { prompt } = this.views[row];
    prompt.focus();
    if (caret !== undefined) prompt.setSelectionRange(caret, caret);
    this.views[row].element.scrollIntoView({ block: "nearest" });
  }

  /** @param {string} words */
  #say(words) {
    this.live.textContent = words;
  }

  #add() {
    const at = this.rows.length;
    this.#insert(at, { prompt: "" });
    this.#edit(at);
    this.#say(t("added", { row: at }));
  }

  /**
   * @param {number} row
   * @param {string} before
   * @param {string} after
   */
  #split(row, before, after) {
    if (this.rows.length >= MAX_LEVELS) return;
    this.rows[row].prompt = before;
    this.#insert(row + 1, { prompt: after.trimStart() });
    this.#edit(row + 1, 0);
  }

  /**
   * @param {number} row
   * @param {string[]} parts
   */
  #pasted(row, parts) {
    this.rows[row].prompt = parts[0];
    const added = parts.slice(1).map((prompt) => ({ prompt }));
    this.#restructure((list) =>
      list.splice(row + 1, 0, ...(list === this.rows ? added : added.map(() => list[row]))),
    );
    this.#edit(row + added.length);
  }

  /** @param {number} row */
  #joinUp(row) {
    const own = this.rows[row].prompt;
    const above = this.rows[row - 1];
    if (typeof own !== "string" || typeof above.prompt !== "string") return;
    const caret = above.prompt.length;
    above.prompt += own;
    this.#restructure((list) => list.splice(row, 1));
    this.#edit(row - 1, caret);
  }

  /** @param {number} row */
  #duplicate(row) {
    if (this.rows.length >= MAX_LEVELS) return;
    const copy = structuredClone(this.rows[row]);
    this.#insert(row + 1, copy);
    this.#edit(row + 1);
    this.#say(t("added", { row: row + 1 }));
  }

  /** @param {number} row */
  #remove(row) {
    this.#restructure((list) => list.splice(row, 1));
    this.views[Math.min(row, this.views.length - 1)]?.grip.focus();
    this.#say(t("removed", { row }));
  }

  /**
   * @param {number} row
   * @param {number} to
   */
  #move(row, to) {
    if (to < 0 || to >= this.rows.length || to === row) return;
    const typing = document.activeElement === this.views[row].prompt;
    this.#restructure((list) => list.splice(to, 0, ...list.splice(row, 1)));
    if (typing) this.#edit(to);
    else this.views[to].grip.focus();
    this.#say(t("moved", { row, to }));
  }

  /** @param {number} row */
  #toggle(row) {
    this.opened = this.opened === this.rows[row] ? undefined : this.rows[row];
    this.#build();
    this.#show();
    this.views[row].chip.focus();
    this.views[row].element.scrollIntoView({ block: "nearest" });
  }

  /**
   * @param {number} row
   * @param {PointerEvent} event
   */
  #drag(row, event) {
    if (event.button !== 0) return;
    event.stopPropagation();
    const { grip, element } = this.views[row];
    grip.setPointerCapture(event.pointerId);
    let to = row;
    const mark = () => {
      for (const [i, view] of this.views.entries()) {
        view.element.classList.toggle("zse-above", to < row && i === to);
        view.element.classList.toggle("zse-below", to > row && i === to);
      }
    };
    const onMove = (/** @type {PointerEvent} */ now) => {
      const boxes = this.views.map((view) => view.element.getBoundingClientRect());
      const above = boxes.filter((box) => box.top + box.height / 2 < now.clientY).length;
      to = Math.min(this.rows.length - 1, Math.max(0, above > row ? above - 1 : above));
      element.classList.add("zse-dragged");
      mark();
    };
    const end = () => {
      grip.removeEventListener("pointermove", onMove);
      grip.removeEventListener("lostpointercapture", end);
      element.classList.remove("zse-dragged");
      const target = to;
      to = row;
      mark();
      this.#move(row, target);
    };
    grip.addEventListener("pointermove", onMove);
    grip.addEventListener("lostpointercapture", end);
  }

  /** @param {boolean} on whether the text is shown */
  #mode(on) {
    this.host.showText(on);
    this.refresh();
  }

  /** @param {WheelEvent} event */
  #wheel(event) {
    const scrolls = this.list.scrollHeight > this.list.clientHeight && !this.list.hidden;
    if (scrolls && !event.ctrlKey && this.element.contains(document.activeElement)) event.stopPropagation();
    else this.host.passWheel(event);
  }
}
