/**
 * One viewer: the picture, the levels beside it, what it says, and the loop that draws.
 *
 * @typedef {{width: number, height: number, closed?: boolean, insets: number[][], levels: {prompt: string}[]}} Stack
 *     what a zoom stack is, without its pictures (see StackGeometry)
 * @typedef {{
 *     takesWheel?: () => boolean,
 *     passOn?: (event: Event) => void,
 *     onRest?: (place: string) => void,
 *     placer?: () => {place: (level: number, where: {zoom: number, center: [number, number]}) => void} | undefined,
 * }} Host  what a viewer asks of what stands around it
 */

import { attachControls } from "./controls.mjs";
import { button, el, quiet } from "./dom.mjs";
import { Flight } from "./flight.mjs";
import { StackGeometry, clamp } from "./geometry.mjs";
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
  play: "M7 4.5v15l12-7.5z",
  pause: "M7 5h3v14H7zM14 5h3v14h-3z",
  home: "M4 4h16v16H4zM9 9h6v6H9z",
  fullscreen: "M4 9V4h5M20 9V4h-5M4 15v5h5M20 15v5h-5",
  place: "M4 4h5M15 4h5v5M4 4v5M20 15v5h-5M9 20H4v-5M12 8v8M8 12h8",
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
    /** What was, or is being, drawn exactly: its layers and its job. */
    this.exact = null;
    this.build();
    this.calm = matchMedia("(prefers-reduced-motion: reduce)");
    this.observer = new ResizeObserver(() => this.resize());
    this.observer.observe(this.stage);
    this.say(t("empty"));
    parent.append(this.root);
  }

  build() {
    this.canvas = el("canvas", { "aria-hidden": true });
    this.context = this.canvas.getContext("2d", { alpha: false });
    this.message = el("div", { className: "zs-message", role: "status" });
    this.hint = el("div", { className: "zs-hint" }, t("click"));
    const named = { tabIndex: 0, role: "application", "aria-label": t("stage") };
    this.stage = el("div", { className: "zs-stage", ...named }, this.canvas, this.message, this.hint);
    this.playButton = button(t("play"), icon("play"), () => this.toggle());
    this.speedButton = button("", "", () => this.nextSpeed());
    this.fullButton = button(t("fullscreen"), icon("fullscreen"), () => this.fullScreen());
    this.scale = el("span", { className: "zs-scale" });
    this.level = el("span", { className: "zs-level" });
    this.prompt = el("span", { className: "zs-prompt", dir: "auto" });
    this.bar = el("div", { className: "zs-bar" }, this.playButton, this.speedButton,
      el("div", { className: "zs-read" }, el("div", {}, this.scale, this.level), this.prompt));
    this.placeButton = button(t("place"), icon("place"), () => this.placeNext());
    const home = () => {
      this.flight.flyTo(this.flight.lap);
      this.changed();
    };
    this.bar.append(this.placeButton, button(t("home"), icon("home"), home), this.fullButton);
    quiet(this.bar, "pointerdown", "mousedown");
    this.live = el("div", { className: "zs-live", "aria-live": "polite" });
    this.root = el("div", { className: "zs-root zs-bare", "data-capture-wheel": true }, this.stage, this.bar, this.live);
    // Focus is shown to those who move it with the keyboard.
    for (const name of ["pointerdown", "keydown", "keyup"]) {
      this.root.addEventListener(name, () => this.root.classList.toggle("zs-keys", name !== "pointerdown"), true);
    }
    for (const name of ["focusin", "focusout", "pointerenter"]) this.root.addEventListener(name, () => this.ask());
  }

  /**
   * Show a stack.
   * @param {Stack} stack
   * @param {(level: number) => Promise<Blob | ImageBitmap>} read gives a level's picture, encoded or not
   * @param {{keep?: boolean}} options keep: stay where the view was, where the new stack has as many levels
   */
  show(stack, read, { keep = false } = {}) {
    const place = keep && this.stack?.levels.length === stack.levels.length ? this.flight.place : null;
    if (!this.flight) attachControls(this);
    this.clear();
    this.stack = stack;
    this.geometry = new StackGeometry({ ...stack, levels: stack.levels.length });
    this.flight = new Flight(this.geometry, this.calm.matches);
    this.rail = new Rail(stack.levels.map(({ prompt }) => prompt), (zoom, dragged) => {
      this.flight.flyTo(zoom, dragged ? 0 : 0.35);
      this.changed();
    });
    this.stage.after(this.rail.element);
    this.levels = new Levels(this.geometry, read, {
      onChange: () => this.changed(),
      onThumbnail: (level, bitmap) => {
        this.rail.show(level, bitmap);
        this.changed();
      },
      onMissing: (level) => this.miss(level),
    });
    this.root.classList.remove("zs-bare");
    this.root.classList.toggle("zs-plain", !stack.levels.some(({ prompt }) => prompt));
    this.say(t("loading"));
    this.setSpeed(1);
    this.ask();
    if (place) this.flight.stand(place);
    this.resize();
    this.read();
  }

  /**
   * Show what a running sampler has so far.
   * @param {Stack} stack @param {ImageBitmap[]} pictures one a level
   */
  preview(stack, pictures) {
    const read = async (level) => pictures[level];
    if (this.previewed === stack) return this.levels.replace(read);
    this.show(stack, read, { keep: true });
    this.previewed = stack;
    this.note = t("sampling");
  }

  /** Show nothing but words. */
  clear(words = "") {
    this.levels?.close();
    this.rail?.element.remove();
    this.stack = this.levels = this.rail = this.previewed = null;
    this.note = "";
    this.forgetExact();
    this.failed = 0;
    this.root.classList.add("zs-bare");
    this.canvas.width = this.canvas.width;
    this.say(words);
    this.ask();
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

  /** Whether a wheel is meant for the picture. */
  takesWheel() {
    return Boolean(this.levels) && (Boolean(this.dialog) || (this.host.takesWheel?.() ?? true));
  }

  passOn(event) {
    if (!this.dialog) this.host.passOn?.(event);
  }

  /** What depends on what stands around: asked whenever somebody comes. */
  ask() {
    this.placeButton.hidden = !this.host.placer?.();
    this.hint.classList.toggle("zs-on", Boolean(this.levels) && !this.takesWheel());
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
    if (this.frame || !this.levels) return;
    this.before = 0;
    this.wait();
  }

  wait() {
    this.frame = requestAnimationFrame((now) => this.tick(now));
  }

  tick(now) {
    this.frame = 0;
    if (!this.levels) return;
    const seconds = this.before ? Math.min((now - this.before) / 1000, LONGEST_STEP) : 1 / 60;
    this.before = now;
    const moved = this.flight.step(seconds);
    if (moved) this.movedAt = now;
    this.levels.look(this.flight.place.level);
    const { layers, pictures, fading } = this.layers(now);
    if (!this.exact || !same(this.exact.layers, layers)) {
      this.forgetExact();
      if (layers.length) surface().draw(this.context, layers);
    }
    this.read();
    if (moved || fading || now - this.movedAt <= REST) this.wait();
    else if (pictures && !this.exact) {
      this.exact = { layers, job: surface().drawExactly(this.context, layers, () => this.rest()) };
    } else if (this.exact?.job.over ?? true) this.rest();
  }

  forgetExact() {
    if (this.exact) surface().drop(this.exact.job);
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
    const levels = stack.levels.length;
    const zoom = flight.zoom - flight.lap;
    const nearest = geometry.closed ? geometry.picture(Math.round(zoom)) : clamp(Math.round(zoom), 0, levels - 1);
    const level = t("level", { level: nearest + 1, levels });
    const { prompt } = stack.levels[nearest];
    put(this.scale, magnification(geometry.depth({ ...flight.place, level: flight.place.level - flight.lap })));
    put(this.level, level);
    put(this.prompt, prompt);
    this.rail.mark(geometry.closed && zoom > levels - 0.5 ? zoom - levels : zoom, prompt ? `${level}: ${prompt}` : level);
    if (this.shownPlaying === flight.playing) return;
    this.shownPlaying = flight.playing;
    const name = flight.playing ? "pause" : "play";
    this.playButton.replaceChildren(icon(name));
    label(this.playButton, t(name));
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
    const { flight } = this;
    flight.play(flight.playing ? 0 : flight.zoom >= flight.last && !this.geometry.closed ? -1 : 1);
    this.changed();
  }

  setSpeed(speed) {
    this.flight.speed = speed;
    this.speedButton.textContent = `${speed}×`;
    label(this.speedButton, t("speed", { speed }));
  }

  nextSpeed() {
    this.setSpeed(SPEEDS[(SPEEDS.indexOf(this.flight.speed) + 1) % SPEEDS.length]);
  }

  /** @param {import("./geometry.mjs").Place} place */
  stand(place) {
    this.flight.stand(place);
    this.changed();
  }

  /** Offer what is seen as the place of the level after the one that it lies in. */
  placeNext() {
    const { place } = this.flight;
    const { width, height } = this.geometry.size(place);
    this.dialog?.close();
    const level = this.geometry.picture(place.level) + 1;
    this.host.placer()?.place(level, { zoom: 1 / Math.sqrt(width * height), center: [place.x, place.y] });
  }

  /** The picture in a dialog as large as the window, or back. */
  fullScreen() {
    if (this.dialog) return this.dialog.close();
    const wide = this.root.classList.contains("zs-wide");
    const dialog = el("dialog", { className: "zs-dialog", "aria-label": t("fullscreen") }, this.root);
    this.dialog = dialog;
    document.body.append(dialog);
    this.root.classList.add("zs-wide");
    dialog.addEventListener("close", () => {
      this.parent.append(this.root);
      dialog.remove();
      this.dialog = null;
      this.root.classList.toggle("zs-wide", wide);
      label(this.fullButton, t("fullscreen"));
      this.ask();
      this.fullButton.focus({ preventScroll: true });
    });
    quiet(dialog, "keydown", "keyup", "wheel", "pointerdown", "mousedown", "paste", "copy");
    dialog.showModal();
    label(this.fullButton, t("leave"));
    this.stage.focus({ preventScroll: true });
  }

  close() {
    this.dialog?.close();
    cancelAnimationFrame(this.frame);
    this.observer.disconnect();
    this.clear();
    this.root.remove();
  }
}

function icon(name) {
  const make = (tag) => document.createElementNS("http://www.w3.org/2000/svg", tag);
  const [svg, path] = [make("svg"), make("path")];
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  svg.classList.toggle("zs-solid", name === "play" || name === "pause");
  path.setAttribute("d", ICONS[name]);
  svg.append(path);
  return svg;
}

function label(element, words) {
  element.title = words;
  element.setAttribute("aria-label", words);
}

/** Whether layers show the same. */
function same(layers, others) {
  const facts = (all) => all.flatMap(({ picture, opacity, rect }) => [picture, opacity, ...Object.values(rect)]);
  const [mine, theirs] = [facts(layers), facts(others)];
  return mine.length === theirs.length && mine.every((fact, i) => fact === theirs[i]);
}

/** Write words where they changed; a document's layout is not disturbed by the same words again. */
function put(element, words) {
  if (element.textContent !== words) element.textContent = words;
}
