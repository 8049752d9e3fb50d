/** The levels as a strip of thumbnails: a map of the way, and a slider along it. */

import { t } from "./words.mjs";

const STEP = 0.25;
// Below this height a cell has no room for words.
const READABLE = 30;

export class Rail {
  /**
   * @param {string[]} prompts one a level
   * @param {(zoom: number, dragged: boolean) => void} onMove
   */
  constructor(prompts, onMove) {
    this.prompts = prompts;
    this.onMove = onMove;
    this.zoom = 0;
    this.element = document.createElement("div");
    this.element.className = "zs-rail";
    this.element.tabIndex = 0;
    this.element.setAttribute("role", "slider");
    this.element.setAttribute("aria-orientation", "vertical");
    this.element.setAttribute("aria-label", t("rail"));
    this.element.setAttribute("aria-valuemin", "1");
    this.element.setAttribute("aria-valuemax", String(prompts.length));
    this.cells = prompts.map((prompt, level) => cell(prompt, level));
    this.element.append(...this.cells.map(({ element }) => element));
    this.marker = document.createElement("div");
    this.marker.className = "zs-marker";
    this.element.append(this.marker);
    this.listen();
    this.observer = new ResizeObserver(() => {
      const height = this.element.clientHeight / prompts.length;
      this.element.classList.toggle("zs-dense", height < READABLE);
    });
    this.observer.observe(this.element);
  }

  listen() {
    const { element } = this;
    const scrub = (event) => {
      const box = element.getBoundingClientRect();
      const zoom = ((event.clientY - box.top) / box.height) * this.prompts.length - 0.5;
      this.onMove(Math.min(Math.max(zoom, 0), this.prompts.length - 1), true);
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
    element.addEventListener("mousedown", (event) => event.stopPropagation());
    element.addEventListener("keydown", (event) => {
      const last = this.prompts.length - 1;
      const target = {
        ArrowUp: this.zoom - STEP,
        ArrowLeft: this.zoom - STEP,
        ArrowDown: this.zoom + STEP,
        ArrowRight: this.zoom + STEP,
        PageUp: Math.ceil(this.zoom) - 1,
        PageDown: Math.floor(this.zoom) + 1,
        Home: 0,
        End: last,
      }[event.key];
      if (target === undefined) return;
      event.preventDefault();
      event.stopPropagation();
      this.onMove(Math.min(Math.max(target, 0), last), false);
    });
  }

  /** @param {number} level @param {ImageBitmap} bitmap */
  show(level, bitmap) {
    const { canvas, element } = this.cells[level];
    canvas.width = bitmap.width;
    canvas.height = bitmap.height;
    canvas.getContext("2d").drawImage(bitmap, 0, 0);
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
    this.zoom = Math.min(Math.max(zoom, 0), this.prompts.length - 1);
    this.marker.style.top = `${((this.zoom + 0.5) / this.prompts.length) * 100}%`;
    const nearest = Math.round(this.zoom);
    if (nearest === this.nearest && words === this.words) return;
    this.cells[this.nearest]?.element.classList.remove("zs-here");
    this.cells[nearest].element.classList.add("zs-here");
    this.nearest = nearest;
    this.words = words;
    this.element.setAttribute("aria-valuenow", String(nearest + 1));
    this.element.setAttribute("aria-valuetext", words);
  }

  close() {
    this.observer.disconnect();
  }
}

function cell(prompt, level) {
  const element = document.createElement("div");
  element.className = "zs-cell";
  element.title = prompt ? `${level + 1}. ${prompt}` : String(level + 1);
  const canvas = document.createElement("canvas");
  const words = document.createElement("span");
  words.dir = "auto";
  words.textContent = prompt || String(level + 1);
  element.append(canvas, words);
  return { element, canvas };
}
