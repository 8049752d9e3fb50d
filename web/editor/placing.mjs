/**
 * Where a level lies in the one before it: a frame on its picture, to drag and to resize.
 * @module
 */

import { el } from "../viewer/dom.mjs";
import { MAX_ZOOM, MIN_ZOOM } from "./prompts.mjs";
import { t } from "./words.mjs";

const STEP = 0.01;
const ZOOM_STEP = 1.05;
const DECIMALS = 1e4;
const CORNERS = [
  [0, 0],
  [1, 0],
  [0, 1],
  [1, 1],
];

/**
 * @typedef {{zoom: number, center: [number, number]}} Place
 */

/**
 * A place with its zoom in range and its frame inside, in round numbers.
 * @param {Place} place
 * @returns {Place}
 */
export function settled({ zoom, center }) {
  const near = Math.round(Math.min(MAX_ZOOM, Math.max(MIN_ZOOM, zoom)) * 100) / 100;
  const low = Math.ceil((0.5 / near) * DECIMALS) / DECIMALS;
  const high = Math.floor((1 - 0.5 / near) * DECIMALS) / DECIMALS;
  const [x, y] = center.map((v) => Math.min(high, Math.max(low, Math.round(v * DECIMALS) / DECIMALS)));
  return { zoom: near, center: [x, y] };
}

/**
 * The place after a corner of its frame was dragged to a point; the opposite corner stays.
 * @param {Place} start
 * @param {number[]} corner 0 or 1 for left or right, top or bottom
 * @param {number[]} point in the frame of the level before, 0..1
 * @returns {Place}
 */
export function resized({ zoom, center }, corner, point) {
  const side = 1 / zoom;
  const fixed = center.map((v, i) => v + side * (0.5 - corner[i]));
  const away = corner.map((v) => 2 * v - 1);
  const wanted = Math.max(...point.map((v, i) => (v - fixed[i]) * away[i]));
  const room = Math.min(...fixed.map((v, i) => (away[i] > 0 ? 1 - v : v)));
  const next = Math.min(room, 1 / MIN_ZOOM, Math.max(1 / MAX_ZOOM, wanted));
  return settled({ zoom: 1 / next, center: [fixed[0] + (away[0] * next) / 2, fixed[1] + (away[1] * next) / 2] });
}

/** A picture with a frame on it. `change` gets every new place. */
export class Placing {
  /**
   * @param {number} row the level that is placed
   * @param {number} before the level around it
   * @param {(place: Place) => void} change
   */
  constructor(row, before, change) {
    this.change = change;
    /** @type {Place} */
    this.place = { zoom: 2, center: [0.5, 0.5] };
    const label = t("place.frame", { row, before });
    this.frame = el("div", { className: "zse-frame", tabIndex: 0, role: "group", "aria-label": label });
    this.empty = el("p", {}, t("place.none", { row: before }));
    this.image = el("img", { alt: t("level", { row: before }), draggable: false, hidden: true });
    this.element = el("div", { className: "zse-placing" }, this.image, this.empty, this.frame);
    this.image.addEventListener("load", () => this.#shown(true));
    this.image.addEventListener("error", () => this.#shown(false));
    for (const corner of CORNERS) {
      const handle = el("i", { className: `zse-corner x${corner[0]} y${corner[1]}` });
      this.#drag(handle, (start, point) => resized(start, corner, point));
      this.frame.append(handle);
    }
    this.#drag(this.frame, (start, point, from) =>
      settled({ zoom: start.zoom, center: [start.center[0] + point[0] - from[0], start.center[1] + point[1] - from[1]] }),
    );
    this.frame.addEventListener("keydown", (event) => this.#key(event));
  }

  /** @param {string | undefined} url of the level before */
  picture(url) {
    if (!url) this.#shown(false);
    else if (this.image.getAttribute("src") !== url) this.image.src = url;
  }

  /** @param {boolean} on */
  #shown(on) {
    this.image.hidden = !on;
    this.empty.hidden = on;
  }

  /** @param {Place} place */
  show(place) {
    this.place = place;
    const side = 100 / place.zoom;
    const [x, y] = place.center;
    Object.assign(this.frame.style, {
      width: `${side}%`,
      height: `${side}%`,
      left: `${x * 100 - side / 2}%`,
      top: `${y * 100 - side / 2}%`,
    });
  }

  /** @param {Place} place */
  #set(place) {
    this.show(place);
    this.change(place);
  }

  /**
   * @param {HTMLElement} handle
   * @param {(start: Place, point: number[], from: number[]) => Place} move
   */
  #drag(handle, move) {
    handle.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      event.stopPropagation();
      event.preventDefault();
      this.frame.focus({ preventScroll: true });
      handle.setPointerCapture(event.pointerId);
      const start = this.place;
      const from = this.#point(event);
      const onMove = (/** @type {PointerEvent} */ now) => this.#set(move(start, this.#point(now), from));
      const end = () => {
        handle.removeEventListener("pointermove", onMove);
        handle.removeEventListener("lostpointercapture", end);
      };
      handle.addEventListener("pointermove", onMove);
      handle.addEventListener("lostpointercapture", end);
    });
  }

  /** @param {PointerEvent} event */
  #point(event) {
    const box = this.element.getBoundingClientRect();
    return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const step = event.shiftKey ? 5 * STEP : STEP;
    const moves = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] };
    const zooms = { "+": ZOOM_STEP, "=": ZOOM_STEP, "-": 1 / ZOOM_STEP };
    const [x, y] = this.place.center;
    if (event.key in moves) {
      const [dx, dy] = moves[/** @type {keyof typeof moves} */ (event.key)];
      this.#set(settled({ zoom: this.place.zoom, center: [x + dx, y + dy] }));
    } else if (event.key in zooms) {
      const factor = zooms[/** @type {keyof typeof zooms} */ (event.key)];
      this.#set(settled({ zoom: this.place.zoom * factor, center: [x, y] }));
    } else return;
    event.preventDefault();
    event.stopPropagation();
  }
}
