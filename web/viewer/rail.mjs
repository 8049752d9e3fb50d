/** The levels as a strip of thumbnails: a map of the way, and a slider along it. */

import { el, quiet } from "./dom.mjs";
import { t } from "./words.mjs";

const STEP = 0.25;
const THUMBNAIL = 96; // pixels of its smaller side

export class Rail {
  /**
   * @param {string[]} prompts one a level
   * @param {(zoom: number, dragged: boolean) => void} onMove
   */
  constructor(prompts, onMove) {
    this.last = prompts.length - 1;
    this.onMove = onMove;
    this.zoom = 0;
    this.cells = prompts.map(cell);
    this.marker = el("div", { className: "zs-marker" });
    this.element = el("div", {
      className: "zs-rail", tabIndex: 0, role: "slider", "aria-orientation": "vertical", "aria-label": t("rail"),
      "aria-valuemin": 1, "aria-valuemax": prompts.length,
    }, ...this.cells.map(({ element }) => element), this.marker);
    this.listen();
  }

  listen() {
    const { element } = this;
    quiet(element, "mousedown");
    const scrub = (event) => {
      const box = element.getBoundingClientRect();
      this.move(((event.clientY - box.top) / box.height) * (this.last + 1) - 0.5, true);
    };
    element.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      event.stopPropagation();
      element.focus({ preventScroll: true });
      element.setPointerCapture(event.pointerId);
      scrub(event);
    });
    element.addEventListener("pointermove", (event) => {
      if (!element.hasPointerCapture(event.pointerId)) return;
      event.stopPropagation();
      scrub(event);
    });
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
    this.onMove(Math.min(Math.max(zoom, 0), this.last), dragged);
  }

  /** @param {number} level @param {ImageBitmap} bitmap */
  show(level, bitmap) {
    const { canvas, element } = this.cells[level];
    const scale = THUMBNAIL / Math.min(bitmap.width, bitmap.height);
    canvas.width = Math.ceil(Math.min(bitmap.width * scale, 4 * THUMBNAIL));
    canvas.height = Math.ceil(Math.min(bitmap.height * scale, 4 * THUMBNAIL));
    const context = canvas.getContext("2d");
    context.imageSmoothingQuality = "medium";
    context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
    element.classList.add("zs-shown");
  }

  /** The thumbnail of a level, or null. */
  thumbnail(level) {
    const { canvas, element } = this.cells[level];
    return element.classList.contains("zs-shown") ? canvas : null;
  }

  missing(level) {
    this.cells[level].element.classList.add("zs-missing");
  }

  /** Mark where the view is, in levels. @param {number} zoom @param {string} words */
  mark(zoom, words) {
    this.zoom = Math.min(Math.max(zoom, 0), this.last);
    this.marker.style.top = `${((this.zoom + 0.5) / this.cells.length) * 100}%`;
    const nearest = Math.round(this.zoom);
    if (nearest === this.nearest && words === this.words) return;
    this.cells[this.nearest]?.element.classList.remove("zs-here");
    this.cells[nearest].element.classList.add("zs-here");
    this.nearest = nearest;
    this.words = words;
    this.element.setAttribute("aria-valuenow", String(nearest + 1));
    this.element.setAttribute("aria-valuetext", words);
  }
}

function cell(prompt, level) {
  const number = String(level + 1);
  const canvas = el("canvas");
  const words = el("span", { dir: "auto" }, prompt || number);
  return { canvas, element: el("div", { className: "zs-cell", title: prompt ? `${number}. ${prompt}` : number }, canvas, words) };
}
