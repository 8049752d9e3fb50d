/**
 * One viewer: the picture, the levels beside it, what it says, and the loop that draws.
 *
 * @typedef {{width: number, height: number, closed?: boolean, insets: number[][], levels: {prompt: string}[]}} Stack
 *     what a zoom stack is, without its pictures (see StackGeometry)
 * @typedef {{
 *     takesWheel?: (event: WheelEvent) => boolean,
 *     passOn?: (event: Event) => void,
 *     onRest?: (place: string) => void,
 *     onPlace?: (wanted: {level: number, zoom: number, center: [number, number]}) => void,
 * }} Host  what a viewer asks of what stands around it
 */

import { attachControls } from "./controls.mjs";
import { Flight } from "./flight.mjs";
import { StackGeometry } from "./geometry.mjs";
import { Levels } from "./loader.mjs";
import { Rail } from "./rail.mjs";
import { installStyle } from "./style.mjs";
import { surface } from "./surface.mjs";
import { magnification, t } from "./words.mjs";

const SPEEDS = [0.25, 0.5, 1, 2, 4];
// A view that stood this long (ms) is drawn once more, exactly.
const REST = 140;
// Of a place, in an address: a fraction of a pixel.
const DIGITS = 7;
const LONGEST_STEP = 0.1;
const ICONS = {
  play: ["M7 4.5v15l12-7.5z", true],
  pause: ["M7 5h3v14H7zM14 5h3v14h-3z", true],
  home: ["M4 4h16v16H4zM9 9h6v6H9z", false],
  fullscreen: ["M4 9V4h5M20 9V4h-5M4 15v5h5M20 15v5h-5", false],
  place: ["M4 4h5M15 4h5v5M4 4v5M20 15v5h-5M9 20H4v-5M12 8v8M8 12h8", false],
};

export class Viewer {
  /** @param {HTMLElement} parent where it is put @param {Host} host */
  constructor(parent, host = {}) {
    installStyle();
    this.parent = parent;
    this.host = host;
    this.stack = null;
    this.levels = null;
    this.frame = 0;
    this.before = 0;
    this.movedAt = 0;
    /** What was, or is being, drawn exactly: its layers, its job, whether it is done. */
    this.exact = null;
    this.build();
    this.calm = matchMedia("(prefers-reduced-motion: reduce)");
    this.observer = new ResizeObserver(() => this.resize());
    this.observer.observe(this.stage);
    this.say(t("empty"));
    parent.append(this.root);
  }

  build() {
    this.root = make("div", "zs-root zs-bare");
    this.root.dataset.captureWheel = "true";
    this.stage = make("div", "zs-stage");
    this.stage.tabIndex = 0;
    this.stage.setAttribute("role", "application");
    this.stage.setAttribute("aria-label", t("stage"));
    this.canvas = make("canvas");
    this.canvas.setAttribute("aria-hidden", "true");
    this.context = this.canvas.getContext("2d", { alpha: false });
    this.message = make("div", "zs-message");
    this.message.setAttribute("role", "status");
    this.hint = make("div", "zs-hint");
    this.hint.textContent = t("click");
    this.stage.append(this.canvas, this.message, this.hint);
    this.bar = make("div", "zs-bar");
    this.playButton = button("play", () => this.toggle());
    this.speedButton = make("button");
    this.speedButton.type = "button";
    this.speedButton.addEventListener("click", () => this.nextSpeed());
    this.scale = make("span", "zs-scale");
    this.level = make("span", "zs-level");
    this.prompt = make("span", "zs-prompt");
    this.prompt.dir = "auto";
    const line = make("div");
    line.append(this.scale, this.level);
    const read = make("div", "zs-read");
    read.append(line, this.prompt);
    this.bar.append(this.playButton, this.speedButton, read);
    if (this.host.onPlace) this.bar.append(button("place", () => this.placeNext()));
    this.fullButton = button("fullscreen", () => this.fullScreen());
    this.bar.append(button("home", () => this.go(0)), this.fullButton);
    this.live = make("div", "zs-live");
    this.live.setAttribute("aria-live", "polite");
    this.bar.addEventListener("pointerdown", (event) => event.stopPropagation());
    this.bar.addEventListener("mousedown", (event) => event.stopPropagation());
    this.root.append(this.stage, this.bar, this.live);
    // Focus is shown to those who move it with the keyboard.
    this.root.addEventListener("pointerdown", () => this.root.classList.remove("zs-keys"), true);
    this.root.addEventListener("keydown", () => this.root.classList.add("zs-keys"), true);
    this.root.addEventListener("keyup", () => this.root.classList.add("zs-keys"), true);
    this.root.addEventListener("focusin", () => this.showHint());
    this.root.addEventListener("focusout", () => this.showHint());
  }

  /**
   * Show a stack.
   * @param {Stack} stack
   * @param {(level: number) => Promise<Blob | ImageBitmap>} read gives a level's picture, encoded or not
   * @param {{keep?: boolean}} options keep: stay where the view was, where the new stack has as many levels
   */
  show(stack, read, { keep = false } = {}) {
    const place = keep && this.stack?.levels.length === stack.levels.length ? this.flight.place : null;
    this.clear();
    this.stack = stack;
    this.geometry = new StackGeometry({ ...stack, levels: stack.levels.length });
    this.flight = new Flight(this.geometry);
    this.flight.calm = this.calm.matches;
    this.rail = new Rail(stack.levels.map(({ prompt }) => prompt), (zoom, dragged) => this.slide(zoom, dragged));
    this.stage.after(this.rail.element);
    this.levels = new Levels(this.geometry, read, {
      onChange: () => this.changed(),
      onThumbnail: (level, bitmap) => {
        this.rail.show(level, bitmap);
        this.changed();
      },
      onMissing: (level) => this.miss(level),
    });
    if (!this.listening) {
      this.listening = true;
      attachControls(this.stage, () => this.flight, {
        takesWheel: (event) => Boolean(this.levels) && (this.dialog || (this.host.takesWheel?.(event) ?? true)),
        passOn: (event) => this.dialog || this.host.passOn?.(event),
        onChange: () => this.changed(),
        toggle: () => this.toggle(),
        fullScreen: () => this.fullScreen(),
      });
    }
    this.root.classList.remove("zs-bare");
    this.root.classList.toggle("zs-plain", !stack.levels.some(({ prompt }) => prompt));
    this.say(t("loading"));
    this.setSpeed(1);
    this.showHint();
    if (place) this.flight.stand(place);
    this.levels.look(this.flight.place.level);
    this.resize();
    this.read();
  }

  /**
   * Show what a running sampler has so far.
   * @param {Stack} stack @param {ImageBitmap[]} pictures one a level
   */
  preview(stack, pictures) {
    const read = async (level) => pictures[level];
    if (this.previewed === stack) this.levels.replace(read);
    else {
      this.show(stack, read, { keep: true });
      this.previewed = stack;
      this.note = t("sampling");
    }
  }

  /** Show nothing but words. */
  clear(words = "") {
    this.levels?.close();
    this.rail?.close();
    this.rail?.element.remove();
    this.stack = this.levels = this.rail = this.previewed = null;
    this.note = "";
    this.forgetExact();
    this.failed = 0;
    this.root.classList.add("zs-bare");
    this.canvas.width = this.canvas.width;
    this.say(words);
    this.hint.classList.remove("zs-on");
  }

  say(words, note = false) {
    this.message.textContent = words;
    this.message.classList.toggle("zs-note", note);
  }

  miss(level) {
    this.rail.missing(level);
    this.failed++;
    if (this.failed === this.stack.levels.length) this.clear(t("gone"));
    else this.say(t("missing", { level: level + 1 }), true);
  }

  showHint() {
    const focused = this.root.contains(document.activeElement);
    this.hint.classList.toggle("zs-on", Boolean(this.levels && this.host.takesWheel && !focused && !this.dialog));
  }

  resize() {
    const ratio = Math.min(devicePixelRatio || 1, 2);
    const width = Math.round(this.stage.clientWidth * ratio);
    const height = Math.round(this.stage.clientHeight * ratio);
    if (!width || !height || !this.levels) return;
    if (this.canvas.width !== width || this.canvas.height !== height) {
      this.canvas.width = width;
      this.canvas.height = height;
      this.forgetExact();
    }
    this.flight.resize(width, height);
    this.changed();
  }

  /** Something is different: draw with the next frame. */
  changed() {
    this.movedAt = performance.now();
    delete this.root.dataset.rest;
    if (!this.frame && this.levels) {
      this.before = 0;
      this.frame = requestAnimationFrame((now) => this.tick(now));
    }
  }

  tick(now) {
    this.frame = 0;
    if (!this.levels) return;
    const seconds = this.before ? Math.min((now - this.before) / 1000, LONGEST_STEP) : 1 / 60;
    this.before = now;
    const level = this.flight.place.level;
    const moved = this.flight.step(seconds);
    if (moved) this.movedAt = now;
    if (this.flight.place.level !== level || moved) this.levels.look(this.flight.place.level);
    const { layers, pictures, fading } = this.layers(now);
    if (!this.exact || !same(this.exact.layers, layers)) this.draw(layers);
    this.read();
    if (moved || fading || now - this.movedAt <= REST) this.frame = requestAnimationFrame((next) => this.tick(next));
    else if (pictures && !this.exact) this.drawExactly(layers);
    else if (this.exact?.done ?? true) this.rest();
  }

  draw(layers) {
    this.forgetExact();
    if (layers.length) surface().draw(this.context, this.canvas.width, this.canvas.height, layers);
  }

  drawExactly(layers) {
    const exact = { layers, done: false, job: null };
    this.exact = exact;
    const { width, height } = this.canvas;
    exact.job = surface().drawExactly(this.context, width, height, layers, () => {
      exact.done = true;
      this.rest();
    });
  }

  forgetExact() {
    if (this.exact?.job) surface().drop(this.exact.job);
    this.exact = null;
  }

  /** What there is to draw, outermost first; whether it is pictures, and whether some are still fading in. */
  layers(now) {
    const parts = this.geometry.parts(this.flight.place, this.canvas.width, this.canvas.height);
    const found = parts.map(({ level, rect }) => ({ level, rect, ...this.levels.get(level, now) }));
    const busy = found.some(({ level, picture }) => !picture && this.levels.awaits(level));
    this.stage.setAttribute("aria-busy", String(busy));
    // Until the outermost picture is there, thumbnails stand for all.
    const thumbnails = found[0].picture ? [] : this.thumbnails(found);
    if (thumbnails.length) return { layers: thumbnails, pictures: false, fading: false };
    const layers = found.filter(({ picture }) => picture);
    if (!layers.length) return { layers, pictures: false, fading: false };
    layers[0].opacity = 1;
    if (!this.failed) this.say(this.note, Boolean(this.note));
    return { layers, pictures: true, fading: layers.some(({ opacity }) => opacity < 1) };
  }

  thumbnails(found) {
    return found.flatMap(({ level, rect }) => {
      const bitmap = this.rail.thumbnail(this.geometry.picture(level));
      if (!bitmap) return [];
      const picture = { bitmap: /** @type {any} */ (bitmap), width: bitmap.width, height: bitmap.height, texture: null, lods: 0 };
      return [{ rect, opacity: 1, picture }];
    });
  }

  /** Where the view is, in words and on the rail. */
  read() {
    const { geometry, flight, stack } = this;
    const zoom = geometry.closed ? mod(flight.zoom, stack.levels.length) : flight.zoom;
    const count = stack.levels.length;
    const nearest = geometry.closed
      ? geometry.picture(Math.round(zoom))
      : Math.min(Math.max(Math.round(zoom), 0), count - 1);
    const scale = magnification(geometry.depth({ ...flight.place, level: geometry.picture(flight.place.level) }));
    const level = t("level", { level: nearest + 1, levels: count });
    const prompt = stack.levels[nearest].prompt;
    put(this.scale, scale);
    put(this.level, level);
    put(this.prompt, prompt);
    this.rail.mark(geometry.closed && zoom > count - 0.5 ? zoom - count : zoom, prompt ? `${level}: ${prompt}` : level);
    if (this.shownPlaying !== flight.playing) {
      this.shownPlaying = flight.playing;
      setIcon(this.playButton, flight.playing ? "pause" : "play");
    }
  }

  /** The place as an address keeps it: level, t, x, y. */
  get placeText() {
    const { level, t: time, x, y } = this.flight.place;
    return [level, time, x, y].map((value) => Number(value.toPrecision(DIGITS))).join();
  }

  rest() {
    this.root.dataset.rest = this.placeText;
    put(this.live, `${this.scale.textContent}, ${this.level.textContent}: ${this.prompt.textContent.slice(0, 300)}`);
    this.host.onRest?.(this.root.dataset.rest);
  }

  toggle() {
    this.flight.play(this.flight.playing ? 0 : this.flight.zoom >= this.flight.last && !this.geometry.closed ? -1 : 1);
    this.changed();
  }

  setSpeed(speed) {
    this.flight.speed = speed;
    this.speedButton.textContent = `${speed}×`;
    this.speedButton.title = t("speed", { speed });
    this.speedButton.setAttribute("aria-label", t("speed", { speed }));
  }

  nextSpeed() {
    this.setSpeed(SPEEDS[(SPEEDS.indexOf(this.flight.speed) + 1) % SPEEDS.length]);
  }

  go(zoom) {
    this.flight.flyTo(zoom);
    this.changed();
  }

  /** @param {import("./geometry.mjs").Place} place */
  stand(place) {
    this.flight.stand(place);
    this.levels.look(this.flight.place.level);
    this.changed();
  }

  slide(zoom, dragged) {
    if (dragged) this.flight.jump(zoom);
    else this.flight.flyTo(zoom, 0.35);
    this.levels.look(this.flight.place.level);
    this.changed();
  }

  /** Offer what is seen as the place of the level after the one that it lies in. */
  placeNext() {
    const { place } = this.flight;
    const { width, height } = this.geometry.size(place);
    const level = this.geometry.picture(place.level) + 1;
    this.dialog?.close();
    this.host.onPlace({ level, zoom: 1 / Math.sqrt(width * height), center: [place.x, place.y] });
  }

  /** The picture in a dialog as large as the window, or back. */
  fullScreen() {
    if (this.dialog) {
      this.dialog.close();
      return;
    }
    const dialog = make("dialog", "zs-dialog");
    this.dialog = dialog;
    dialog.setAttribute("aria-label", t("fullscreen"));
    document.body.append(dialog);
    dialog.append(this.root);
    dialog.addEventListener("close", () => {
      this.parent.append(this.root);
      dialog.remove();
      this.dialog = null;
      setLabel(this.fullButton, "fullscreen");
      this.showHint();
      this.fullButton.focus({ preventScroll: true });
    });
    for (const name of ["keydown", "keyup", "wheel", "pointerdown", "mousedown", "paste", "copy"]) {
      dialog.addEventListener(name, (event) => event.stopPropagation());
    }
    dialog.showModal();
    setLabel(this.fullButton, "leave");
    this.stage.focus({ preventScroll: true });
    this.showHint();
  }

  close() {
    this.dialog?.close();
    cancelAnimationFrame(this.frame);
    this.observer.disconnect();
    this.clear();
    this.root.remove();
  }
}

function make(tag, className = "") {
  const element = document.createElement(tag);
  if (className) element.className = className;
  return element;
}

function button(icon, onClick) {
  const element = make("button");
  element.type = "button";
  setIcon(element, icon);
  element.addEventListener("click", onClick);
  return element;
}

function setIcon(element, icon) {
  const [path, solid] = ICONS[icon];
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  if (solid) svg.classList.add("zs-solid");
  const shape = document.createElementNS("http://www.w3.org/2000/svg", "path");
  shape.setAttribute("d", path);
  svg.append(shape);
  element.replaceChildren(svg);
  setLabel(element, icon);
}

function setLabel(element, key) {
  element.title = t(key);
  element.setAttribute("aria-label", t(key));
}

/** Whether layers show the same. */
function same(layers, others) {
  return layers.length === others.length && layers.every(({ picture, rect, opacity }, i) => {
    const other = others[i];
    return picture === other.picture && opacity === other.opacity && rect.left === other.rect.left &&
      rect.top === other.rect.top && rect.width === other.rect.width && rect.height === other.rect.height;
  });
}

/** Write words where they changed; a document's layout is not disturbed by the same words again. */
function put(element, words) {
  if (element.textContent !== words) element.textContent = words;
}

const mod = (value, by) => ((value % by) + by) % by;
