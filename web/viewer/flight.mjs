/**
 * Where the viewer is and how it moves: wheel and drag with inertia, glides to a level, play along the camera's path.
 *
 * @typedef {import("./geometry.mjs").Place} Place
 */

import { clamp, contained } from "./geometry.mjs";

// Time constants in seconds.
const WHEEL = 0.09;
const DRIFT = 0.28;
const RETURN = 0.35;
// No deeper than a twelfth of the innermost level that lies under the middle of the view.
const SMALLEST = 1 / 12;
const TINY = 1e-4;

export class Flight {
  /** @param {import("./geometry.mjs").StackGeometry} geometry @param {boolean} calm without motion that nobody asked for */
  constructor(geometry, calm = false) {
    this.geometry = geometry;
    this.calm = calm;
    this.place = geometry.onPath(0);
    this.width = 1;
    this.height = 1;
    this.speed = 1;
    this.play(0);
  }

  /** Play inwards (1), outwards (-1), or stand (0); all other motion ends. */
  play(direction) {
    this.playing = direction;
    this.pending = 0;
    this.drift = [0, 0];
    this.glide = null;
  }

  resize(width, height) {
    this.width = width;
    this.height = height;
    this.place = this.kept(this.place);
  }

  /** How far in, counted in levels. */
  get zoom() {
    return this.place.level + this.place.t;
  }

  get last() {
    return this.geometry.levels - 1;
  }

  /** Level 0 of the lap that an endless zoom is in. */
  get lap() {
    return this.geometry.closed ? this.place.level - this.geometry.picture(this.place.level) : 0;
  }

  get shares() {
    return this.geometry.shares(this.width, this.height);
  }

  /** Stand at a place that was given out before, for example by a link. */
  stand(place) {
    this.play(0);
    this.place = this.kept(this.geometry.settled(place));
  }

  /** Magnify by e^amount about a point of the viewport (u, v from -0.5 to 0.5), with inertia. */
  wheel(amount, u, v) {
    this.glide = null;
    this.playing = 0;
    this.anchor = [u, v];
    this.pending += amount;
    if (this.calm) this.step(1e3);
  }

  /** Magnify by e^amount about a point of the viewport, at once. */
  magnify(amount, u, v) {
    const { x, y } = this.shares;
    let place = this.magnified(this.place, amount, u * x, v * y);
    const excess = Math.log(SMALLEST / this.smallness(place));
    if (amount > 0 && excess > 0) place = this.magnified(place, -Math.min(excess, amount), u * x, v * y);
    this.place = this.kept(place);
  }

  /** One level's border after the other, because sizes follow each level's own inset. @returns {Place} */
  magnified(place, amount, u, v) {
    const { geometry } = this;
    for (let left = amount; left !== 0;) {
      const log = geometry.logZoom(place.level);
      const wanted = place.t + left / log;
      let t = wanted;
      if (left > 0 && geometry.has(place.level + 1)) t = Math.min(t, 1);
      else if (place.t > 0) t = Math.max(t, 0);
      left = t === wanted ? 0 : left - (t - place.t) * log;
      const before = geometry.size(place);
      const after = geometry.size({ ...place, t });
      place = { ...place, t, x: place.x + u * (before.width - after.width), y: place.y + v * (before.height - after.height) };
      if (t === 1 && geometry.has(place.level + 1)) place = geometry.inwards(place);
      else if (t === 0 && left < 0 && geometry.has(place.level - 1)) place = geometry.outwards(place);
    }
    return geometry.settled(place);
  }

  /** The smaller side of the viewport in the innermost level that lies under its middle. */
  smallness(place) {
    let rect = this.geometry.rect(place, this.shares);
    const beside = (start, size) => Math.abs(start + 0.5 * size - 0.5) > 0.5;
    for (let { level } = place; beside(rect.left, rect.width) || beside(rect.top, rect.height); level--) {
      if (!this.geometry.has(level - 1)) break;
      rect = this.geometry.outerRect(level, rect);
    }
    return Math.min(rect.width, rect.height);
  }

  /** Move the picture by a share of the viewport. */
  pan(u, v) {
    const { width, height } = this.geometry.rect(this.place, this.shares);
    this.place = this.kept({ ...this.place, x: this.place.x - u * width, y: this.place.y - v * height });
  }

  /** Let go with a speed, in viewports a second. */
  release(u, v) {
    this.drift = this.calm || Math.hypot(u, v) < 0.05 ? [0, 0] : [u, v];
  }

  /** The place inside what there is to see: level 0 fills the viewport, or lies in its middle. */
  kept(place) {
    const { geometry, shares } = this;
    if (geometry.closed) return place;
    if (place.level === 0) {
      const lowest = Math.log(Math.min(shares.x, shares.y)) / geometry.logZoom(0);
      place = { ...place, t: Math.max(place.t, lowest) };
    }
    const own = geometry.rect(place, shares);
    let rect = own;
    for (let { level } = place; level > 0; level--) {
      if (contained(rect)) return place;
      rect = geometry.outerRect(level, rect);
    }
    return {
      ...place,
      x: place.x + (correction(rect.left, rect.width) * own.width) / rect.width,
      y: place.y + (correction(rect.top, rect.height) * own.height) / rect.height,
    };
  }

  /** Fly to a zoom on the path, in seconds; at once for 0. */
  flyTo(zoom, seconds = 0.9) {
    this.play(0);
    if (this.calm || !seconds) this.place = this.beside(zoom, [0, 0]);
    else this.glide = { from: this.zoom, to: zoom, offset: this.offset(), passed: 0, seconds };
  }

  /** Fly to the next whole level inwards (1) or outwards (-1). */
  flyBy(direction) {
    const target = direction > 0 ? Math.floor(this.zoom + 0.02) + 1 : Math.ceil(this.zoom - 0.02) - 1;
    this.flyTo(this.geometry.closed ? target : clamp(target, 0, this.last));
  }

  /** How far the view lies beside the path, in its own sizes. @returns {number[]} */
  offset() {
    const way = this.geometry.onPath(this.zoom);
    const { width, height } = this.geometry.size(this.place);
    return [(this.place.x - way.x) / width, (this.place.y - way.y) / height];
  }

  /** @param {number} zoom @param {number[]} offset from the path, in the view's sizes */
  beside(zoom, [u, v]) {
    const way = this.geometry.settled(this.geometry.onPath(zoom));
    const { width, height } = this.geometry.size(way);
    return this.kept({ ...way, x: way.x + u * width, y: way.y + v * height });
  }

  /** One frame later. Gives whether anything moved. @param {number} seconds */
  step(seconds) {
    const [u, v] = this.drift;
    if (!(this.playing || this.glide || this.pending || u || v)) return false;
    if (this.pending) {
      const amount = Math.abs(this.pending) < TINY ? this.pending : this.pending * (1 - Math.exp(-seconds / WHEEL));
      this.pending -= amount;
      this.magnify(amount, ...this.anchor);
    }
    if (u || v) {
      this.pan(u * seconds, v * seconds);
      const left = Math.hypot(u, v) < 0.01 ? 0 : Math.exp(-seconds / DRIFT);
      this.drift = [u * left, v * left];
    }
    if (this.glide) {
      const { glide } = this;
      glide.passed = Math.min(glide.passed + seconds / glide.seconds, 1);
      const s = glide.passed ** 2 * (3 - 2 * glide.passed);
      this.place = this.beside(glide.from + (glide.to - glide.from) * s, glide.offset.map((o) => o * (1 - s)));
      if (s === 1) this.glide = null;
    }
    if (this.playing) this.advance(seconds);
    return true;
  }

  /** Along the path at a constant speed in log zoom: a doubling takes one second at speed 0.5. */
  advance(seconds) {
    const { geometry } = this;
    const rate = (0.5 * Math.LN2 * this.speed) / geometry.logZoom(this.place.level);
    let zoom = this.zoom + this.playing * rate * seconds;
    const back = Math.exp(-seconds / RETURN);
    const offset = this.offset().map((o) => (Math.abs(o) < TINY ? 0 : o * back));
    if (!geometry.closed && (zoom >= this.last || zoom <= 0)) {
      zoom = clamp(zoom, 0, this.last);
      // There and back, as a film that loops.
      this.playing = this.last === 0 ? 0 : zoom <= 0 ? 1 : -1;
    }
    this.place = this.beside(zoom, offset);
  }
}

/** What brings [start, start + size] into 0..1, or to its middle where it is larger. */
function correction(start, size) {
  return size >= 1 ? 0.5 - (start + 0.5 * size) : clamp(start, 0, 1 - size) - start;
}
