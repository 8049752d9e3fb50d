/**
 * One viewer: the picture, the levels beside it, what it says, and the loop that draws.
 *
 * @typedef {ConstructorParameters<typeof StackGeometry>[0] & {levels: {prompt: string}[]}} Stack
 *     what a zoom stack is, without its pictures
 * @typedef {{
 *     passOn?: (event: Event) => void,
 *     onRest?: (place: string) => void,
 *     placer?: () => {place: (level: number, where: {zoom: number, center: number[]}) => void} | undefined,
 * }} Host  what a viewer asks of what stands around it
 */

import { attachControls, press } from "./controls.mjs";
import { button, el, label, put, quiet } from "./dom.mjs";
import { Flight } from "./flight.mjs";
import { StackGeometry, clamp } from "./geometry.mjs";
import { Levels } from "./loader.mjs";
import { Rail } from "./rail.mjs";
import { sheet } from "./style.mjs";
import { surface } from "./surface.mjs";
import { magnification, t } from "./words.mjs";

const SPEEDS = [0.25, 0.5, 1, 2, 4];
// A view that stood this long (ms) is drawn once more, exactly.
const REST = 140;
const LONGEST_STEP = 0.1;
const ICONS = {
  play: "M7 4.5v15l12-7.5z",
  pause: "M7 5h3v14H7zM14 5h3v14h-3z",
  home: "M4 4h16v16H4zM9 9h6v6H9z",
  fullscreen: "M4 9V4h5M20 9V4h-5M4 15v5h5M20 15v5h-5",
  place: "M4 4h5M15 4h5v5M4 4v5M20 15v5h-5M9 20H4v-5M12 8v8M8 12h8",
};

export class Viewer {
  /** What was, or is being, drawn exactly: what its layers show, and whether they are drawn. */
  exact = null;

  /** @param {HTMLElement} parent where it is put @param {Host} host */
  constructor(parent, host) {
    this.parent = parent;
    this.host = host;
    if (!document.adoptedStyleSheets.includes(sheet)) document.adoptedStyleSheets.push(sheet);
    this.canvas = el("canvas", { "aria-hidden": true });
    this.context = this.canvas.getContext("2d", { alpha: false });
    this.message = el("div", { className: "zs-message", role: "status" });
    this.stage = el("div", { className: "zs-stage", tabIndex: 0, role: "application", "aria-label": t("stage") },
      this.canvas, this.message, el("div", { className: "zs-hint" }, t("click")));
    this.playButton = button(t("play"), icon("play"), () => press(" ", this));
    const faster = () => SPEEDS[SPEEDS.indexOf(this.flight.speed) + 1] ?? SPEEDS[0];
    this.speedButton = button("", "", () => this.setSpeed(faster()));
    this.placeButton = button(t("place"), icon("place"), () => this.placeNext());
    this.fullButton = button(t("fullscreen"), icon("fullscreen"), () => this.fullScreen());
    this.scale = el("span", { className: "zs-scale" });
    this.level = el("span", { className: "zs-level" });
    this.prompt = el("span", { className: "zs-prompt", dir: "auto" });
    const bar = el("div", { className: "zs-bar" }, this.playButton, this.speedButton,
      el("div", { className: "zs-read" }, el("div", {}, this.scale, this.level), this.prompt),
      this.placeButton, button(t("home"), icon("home"), () => press("home", this)), this.fullButton);
    quiet(bar, "pointerdown", "mousedown");
    this.live = el("div", { className: "zs-live", "aria-live": "polite" });
    this.root = el("div", { className: "zs-root zs-bare", "data-capture-wheel": true }, this.stage, bar, this.live);
    // Focus is shown to those who move it with the keyboard.
    for (const name of ["pointerdown", "keydown", "keyup"]) {
      this.root.addEventListener(name, () => this.root.classList.toggle("zs-keys", name !== "pointerdown"), true);
    }
    for (const name of ["focusin", "pointerenter"]) this.root.addEventListener(name, () => this.ask());
    new ResizeObserver(() => this.resize()).observe(this.stage);
    this.say(t("empty"));
    parent.append(this.root);
  }

  /**
   * Show a stack; the view stays where it was, where the one before had as many levels.
   * @param {Stack} stack
   * @param {(level: number) => Promise<Blob | ImageBitmap>} read gives a level's picture, encoded or not
   */
  show(stack, read) {
    const place = this.stack?.levels.length === stack.levels.length ? this.flight.place : null;
    if (!this.flight) attachControls(this);
    this.clear();
    this.stack = stack;
    const prompts = stack.levels.map(({ prompt }) => prompt);
    this.geometry = new StackGeometry(stack);
    this.flight = new Flight(this.geometry, matchMedia("(prefers-reduced-motion: reduce)").matches);
    this.rail = new Rail(prompts, (zoom, dragged) => {
      this.flight.flyTo(zoom, dragged ? 0 : 0.35);
      this.changed();
    });
    this.stage.after(this.rail.element);
    this.levels = new Levels(this.geometry, read, this);
    this.root.classList.remove("zs-bare");
    this.root.classList.toggle("zs-plain", !prompts.some(Boolean));
    this.say(t("loading"));
    this.setSpeed(1);
    this.ask();
    if (place) this.flight.stand(place);
    this.resize();
    this.read();
  }

  /** Show what a running sampler has so far. @type {Viewer["show"]} */
  preview(stack, read) {
    if (this.previewed === stack) return this.levels.replace(read);
    this.show(stack, read);
    this.previewed = stack;
  }

  /** Show nothing but words. */
  clear(words = "") {
    this.levels?.close();
    this.rail?.element.remove();
    this.stack = this.levels = this.rail = this.previewed = this.exact = null;
    this.failed = 0;
    this.root.classList.add("zs-bare");
    this.canvas.width = this.canvas.width;
    this.say(words);
  }

  say(words, note = false) {
    put(this.message, words);
    this.message.classList.toggle("zs-note", note);
  }

  came(level, bitmap) {
    this.rail.show(level, bitmap);
    this.changed();
  }

  miss(level) {
    this.rail.missing(level);
    if (++this.failed === this.stack.levels.length) this.clear(t("gone"));
    else this.say(t("missing", { level: level + 1 }), true);
  }

  /** Whether a wheel is meant for the picture: in a graph, once it was clicked. */
  takesWheel() {
    return this.levels && (this.dialog || !this.host.passOn || this.root.contains(document.activeElement));
  }

  passOn(event) {
    if (!this.dialog) this.host.passOn?.(event);
  }

  /** Whether a level can be placed depends on what stands around: asked whenever somebody comes. */
  ask() {
    this.placeButton.hidden = !this.host.placer?.();
  }

  resize() {
    const ratio = Math.min(devicePixelRatio, 2);
    const [width, height] = [this.stage.clientWidth, this.stage.clientHeight].map((side) => Math.round(side * ratio));
    if (!width || !height || !this.levels) return;
    if (this.canvas.width !== width || this.canvas.height !== height) {
      Object.assign(this.canvas, { width, height });
      this.exact = null;
    }
    this.flight.resize([width, height]);
    this.changed();
  }

  /** Draw with the next frame. */
  changed() {
    this.movedAt = performance.now();
    delete this.root.dataset.rest;
    if (this.frame || !this.levels) return;
    this.before = this.movedAt;
    this.wait();
  }

  wait() {
    this.frame = requestAnimationFrame((now) => this.tick(now));
  }

  tick(now) {
    this.frame = 0;
    if (!this.levels) return;
    const seconds = clamp((now - this.before) / 1000, 0, LONGEST_STEP);
    this.before = now;
    const moved = this.flight.step(seconds);
    if (moved) this.movedAt = now;
    this.levels.look(this.flight.place.level);
    const { layers, pictures } = this.layers(now);
    const facts = layers.flatMap(({ picture, opacity, middle, size }) => [picture, opacity, ...middle, ...size]);
    const { exact } = this;
    if (facts.length !== exact?.facts.length || facts.some((fact, i) => fact !== exact.facts[i])) {
      this.exact = null;
      if (layers.length) surface().draw(this.context, layers);
    }
    this.read();
    if (moved || now - this.movedAt <= REST || layers.some(({ opacity }) => opacity < 1)) this.wait();
    else if (pictures && !this.exact) this.drawExactly(layers, facts);
    else if (this.exact?.over ?? true) this.rest();
  }

  async drawExactly(layers, facts) {
    const exact = this.exact = { facts, over: false };
    await surface().drawExactly(this.context, layers, () => this.exact === exact);
    if (this.exact !== exact) return;
    exact.over = true;
    this.rest();
  }

  /** What there is to draw, outermost first: pictures, or thumbnails until the outermost picture is there. */
  layers(now) {
    const { flight, geometry, levels, rail } = this;
    const found = geometry.parts(flight.place, flight.viewport)
      .filter(({ level }) => level <= flight.place.level + levels.around)
      .map((part) => ({ ...part, ...levels.get(part.level, now) }))
      .filter(({ missing }) => !missing);
    this.stage.setAttribute("aria-busy", String(found.some(({ picture }) => !picture)));
    const pictures = Boolean(found[0]?.picture);
    if (pictures) {
      found[0].opacity = 1;
      if (!this.failed) this.say(this.previewed ? t("sampling") : "", true);
    }
    const thumbnail = (part) => ({ ...part, opacity: 1, picture: rail.thumbnails[geometry.picture(part.level)] });
    return { layers: (pictures ? found : found.map(thumbnail)).filter(({ picture }) => picture), pictures };
  }

  /** Where the view is, in words and on the rail. */
  read() {
    const { geometry, flight } = this;
    const { levels } = geometry;
    const along = geometry.picture(flight.place.level) + flight.place.t;
    const zoom = clamp(geometry.closed && along > levels - 0.5 ? along - levels : along, 0, levels - 1);
    const nearest = Math.round(zoom);
    const level = t("level", { level: nearest + 1, levels });
    const { prompt } = this.stack.levels[nearest];
    put(this.scale, magnification(geometry.depth(flight.place)));
    put(this.level, level);
    put(this.prompt, prompt);
    this.rail.mark(zoom, prompt ? `${level}: ${prompt}` : level);
    const name = flight.playing ? "pause" : "play";
    if (this.playButton.title === t(name)) return;
    this.playButton.replaceChildren(icon(name));
    label(this.playButton, t(name));
  }

  /** The place as an address keeps it, to a fraction of a pixel: level, t, x, y. */
  get placeText() {
    const { level, t: time, middle } = this.flight.place;
    return [level, time, ...middle].map((value) => Number(value.toPrecision(7))).join();
  }

  rest() {
    this.root.dataset.rest = this.placeText;
    put(this.live, `${this.scale.textContent}, ${this.level.textContent}: ${this.prompt.textContent.slice(0, 300)}`);
    this.host.onRest?.(this.placeText);
  }

  setSpeed(speed) {
    this.flight.speed = speed;
    this.speedButton.textContent = `${speed}×`;
    label(this.speedButton, t("speed", { speed }));
  }

  /** @param {Flight["place"]} place */
  stand(place) {
    this.flight.stand(place);
    this.changed();
  }

  /** Offer what is seen as the place of the level after the one that it lies in. */
  placeNext() {
    const { place } = this.flight;
    const zoom = Math.exp(place.t * this.geometry.logZoom(place.level));
    this.dialog?.close();
    this.host.placer()?.place(this.geometry.picture(place.level) + 1, { zoom, center: place.middle });
  }

  /** The picture in a dialog as large as the window, or back. */
  fullScreen() {
    if (this.dialog) return this.dialog.close();
    const dialog = this.dialog = el("dialog", { className: "zs-dialog zs-wide", "aria-label": t("fullscreen") }, this.root);
    document.body.append(dialog);
    dialog.addEventListener("close", () => {
      this.parent.append(this.root);
      dialog.remove();
      this.dialog = null;
      label(this.fullButton, t("fullscreen"));
      this.fullButton.focus({ preventScroll: true });
    });
    quiet(dialog, "keydown", "keyup", "wheel", "pointerdown", "mousedown", "paste", "copy");
    dialog.showModal();
    label(this.fullButton, t("leave"));
    this.stage.focus({ preventScroll: true });
  }

  close() {
    this.dialog?.close();
    this.clear();
    this.root.remove();
  }
}

/** @param {keyof typeof ICONS} name */
function icon(name) {
  const innerHTML = `<svg viewBox="0 0 24 24" aria-hidden="true"><path d="${ICONS[name]}"/></svg>`;
  return el("template", { innerHTML }).content;
}
