/**
 * The levels as a strip of thumbnails: a map of the way, and a slider along it.
 *
 * @import { Picture } from "./fades.mjs"
 */

import { el, quiet } from "./dom.mjs";
import { clamp } from "./geometry.mjs";
import { t } from "./words.mjs";

const STEP = 0.25;
const THUMBNAIL = 96; // pixels of its smaller side

export class Rail {
  zoom = 0;
  /** By level, once they are there. @type {Picture[]} */
  thumbnails = [];
  marker = el("div", { className: "zs-marker" });

  /** @param {string[]} prompts one a level @param {(zoom: number, dragged: boolean) => void} onMove */
  constructor(prompts, onMove) {
    this.onMove = onMove;
    this.cells = prompts.map((prompt, level) => {
      const number = String(level + 1);
      const words = el("span", { dir: "auto" }, prompt || number);
      return el("div", { className: "zs-cell", title: prompt ? `${number}. ${prompt}` : number }, el("canvas"), words);
    });
    const element = this.element = el("div", {
      className: "zs-rail", tabIndex: 0, role: "slider", "aria-orientation": "vertical", "aria-label": t("rail"),
      "aria-valuemin": 1, "aria-valuemax": prompts.length,
    }, ...this.cells, this.marker);
    quiet(element, "mousedown");
    const scrub = (event) => {
      if (!element.hasPointerCapture(event.pointerId)) return;
      event.stopPropagation();
      const box = element.getBoundingClientRect();
      this.move(((event.clientY - box.top) / box.height) * this.cells.length - 0.5, true);
    };
    element.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      element.focus({ preventScroll: true });
      element.setPointerCapture(event.pointerId);
      scrub(event);
    });
    element.addEventListener("pointermove", scrub);
    // Arrows go along the strip; the other keys do here what they do on the picture.
    element.addEventListener("keydown", (event) => {
      const way = { ArrowUp: -STEP, ArrowLeft: -STEP, ArrowDown: STEP, ArrowRight: STEP }[event.key];
      if (!way) return;
      event.preventDefault();
      event.stopPropagation();
      this.move(this.zoom + way, false);
    });
  }

  move(zoom, dragged) {
    this.onMove(clamp(zoom, 0, this.cells.length - 1), dragged);
  }

  /** @param {number} level @param {ImageBitmap} bitmap */
  show(level, bitmap) {
    const cell = this.cells[level];
    const canvas = cell.querySelector("canvas");
    const scale = THUMBNAIL / Math.min(bitmap.width, bitmap.height);
    const [width, height] = [bitmap.width, bitmap.height].map((side) => Math.ceil(Math.min(side * scale, 4 * THUMBNAIL)));
    Object.assign(canvas, { width, height });
    const context = canvas.getContext("2d");
    context.imageSmoothingQuality = "medium";
    context.drawImage(bitmap, 0, 0, width, height);
    cell.classList.add("zs-shown");
    this.thumbnails[level] = { bitmap: /** @type {any} */ (canvas), width, height, texture: null, lods: 0 };
  }

  missing(level) {
    this.cells[level].classList.add("zs-missing");
  }

  /** Mark where the view is, in levels. @param {number} zoom @param {string} words */
  mark(zoom, words) {
    this.zoom = zoom;
    this.marker.style.top = `${((zoom + 0.5) / this.cells.length) * 100}%`;
    if (words === this.words) return;
    this.words = words;
    const nearest = Math.round(zoom);
    for (const [level, cell] of this.cells.entries()) cell.classList.toggle("zs-here", level === nearest);
    this.element.setAttribute("aria-valuenow", String(nearest + 1));
    this.element.setAttribute("aria-valuetext", words);
  }
}
