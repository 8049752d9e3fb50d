/**
 * Where the viewer is and how it moves: wheel and drag with inertia, glides to a level, play along the camera's path.
 * Points of the viewport are pairs from -0.5 to 0.5.
 *
 * @import { Pair, Place, StackGeometry } from "./geometry.mjs"
 */

import { both, clamp, contained, smooth } from "./geometry.mjs";

// Time constants in seconds.
const WHEEL = 0.09;
const DRIFT = 0.28;
const RETURN = 0.35;
// No deeper than a twelfth of the innermost level that lies under the middle of the view.
const SMALLEST = 1 / 12;
const TINY = 1e-4;
const ZERO = [0, 0];

export class Flight {
  /** @type {Pair} in pixels */
  viewport = [1, 1];
  speed = 1;

  /** @param {StackGeometry} geometry @param {boolean} calm without motion that nobody asked for */
  constructor(geometry, calm) {
    this.geometry = geometry;
    this.calm = calm;
    this.place = geometry.onPath(0);
    this.play(0);
  }

  /** Play inwards (1), outwards (-1), or stand (0); all other motion ends. */
  play(direction) {
    this.playing = direction;
    this.pending = 0;
    this.drift = ZERO;
    this.glide = null;
  }

  /** Play, at the end of the path the other way; or stand. */
  toggle() {
    this.play(this.playing ? 0 : this.zoom >= this.last && !this.geometry.closed ? -1 : 1);
  }

  resize(viewport) {
    this.viewport = viewport;
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

  /** @param {Place} place */
  seen(place) {
    return this.geometry.filled(place, this.viewport);
  }

  stand(place) {
    this.play(0);
    this.place = this.kept(this.geometry.settled(place));
  }

  /** Magnify by e^amount about a point of the viewport, with inertia. @param {Pair} anchor */
  wheel(amount, anchor = ZERO) {
    this.glide = null;
    this.playing = 0;
    this.anchor = anchor;
    this.pending += amount;
    if (this.calm) this.step(1e3);
  }

  /** Magnify by e^amount about a point of the viewport, at once. @param {Pair} anchor */
  magnify(amount, anchor) {
    const place = this.magnified(amount, anchor);
    const excess = Math.log(SMALLEST / this.smallness(place));
    this.place = this.kept(amount > 0 && excess > 0 ? this.magnified(Math.max(amount - excess, 0), anchor) : place);
  }

  magnified(amount, anchor) {
    const { level, t, middle, size } = this.seen(this.place);
    // The point that stays, as the middle of a view that is magnified.
    const point = both((i) => middle[i] + anchor[i] * size[i]);
    const there = this.seen(this.geometry.settled({ level, t: t + amount / this.geometry.logZoom(level), middle: point }));
    return { ...there, middle: both((i) => there.middle[i] - anchor[i] * there.size[i]) };
  }

  /** The smaller side of the viewport in the innermost level that lies under its middle. */
  smallness(place) {
    let view = this.seen(place);
    while (!contained({ ...view, size: ZERO }) && this.geometry.has(view.level - 1)) view = this.geometry.outwards(view);
    return Math.min(...view.size);
  }

  /** Move the picture. @param {Pair} way in viewports */
  pan(way) {
    const { middle, size } = this.seen(this.place);
    this.place = this.kept({ ...this.place, middle: both((i) => middle[i] - way[i] * size[i]) });
  }

  /** Let go with a speed, in viewports a second. @param {Pair} speed */
  release(speed) {
    this.drift = this.calm || Math.hypot(...speed) < 0.05 ? ZERO : speed;
  }

  /** The place inside what there is to see: level 0 fills the viewport, or lies in its middle. */
  kept(place) {
    const { geometry } = this;
    if (geometry.closed) return place;
    if (place.level === 0) {
      const lowest = Math.log(Math.min(...geometry.shares(this.viewport))) / geometry.logZoom(0);
      place = { ...place, t: Math.max(place.t, lowest) };
    }
    const own = this.seen(place);
    let view = own;
    for (; view.level > 0; view = geometry.outwards(view)) {
      if (contained(view)) return place;
    }
    const { middle, size } = view;
    return { ...place, middle: both((i) => place.middle[i] + (correction(middle[i], size[i]) * own.size[i]) / size[i]) };
  }

  /** Fly to a zoom on the path, in seconds; at once for 0. */
  flyTo(zoom, seconds = 0.9) {
    this.play(0);
    if (this.calm || !seconds) this.place = this.beside(zoom, ZERO);
    else this.glide = { from: this.zoom, to: zoom, offset: this.offset(), passed: 0, seconds };
  }

  /** Fly to the next whole level inwards (1) or outwards (-1). */
  flyBy(direction) {
    const target = direction * (Math.floor(direction * this.zoom + 0.02) + 1);
    this.flyTo(this.geometry.closed ? target : clamp(target, 0, this.last));
  }

  /** How far the view lies beside the path, in viewports. */
  offset() {
    const way = this.geometry.onPath(this.zoom);
    const { middle, size } = this.seen(this.place);
    return both((i) => (middle[i] - way.middle[i]) / size[i]);
  }

  /** @param {number} zoom @param {Pair} offset from the path, in viewports */
  beside(zoom, offset) {
    const way = this.seen(this.geometry.onPath(zoom));
    return this.kept({ ...way, middle: both((i) => way.middle[i] + offset[i] * way.size[i]) });
  }

  /** One frame later. Gives whether anything moved. @param {number} seconds */
  step(seconds) {
    const speed = Math.hypot(...this.drift);
    if (!(this.playing || this.glide || this.pending || speed)) return false;
    if (this.pending) {
      const amount = Math.abs(this.pending) < TINY ? this.pending : this.pending * (1 - Math.exp(-seconds / WHEEL));
      this.pending -= amount;
      this.magnify(amount, this.anchor);
    }
    if (speed) {
      this.pan(this.drift.map((v) => v * seconds));
      this.drift = speed < 0.01 ? ZERO : this.drift.map((v) => v * Math.exp(-seconds / DRIFT));
    }
    if (this.glide) {
      const { glide } = this;
      glide.passed = Math.min(glide.passed + seconds / glide.seconds, 1);
      const s = smooth(glide.passed);
      this.place = this.beside(glide.from + (glide.to - glide.from) * s, glide.offset.map((o) => o * (1 - s)));
      if (s === 1) this.glide = null;
    }
    if (this.playing) this.advance(seconds);
    return true;
  }

  /** Along the path at a constant speed in log zoom: a doubling takes one second at speed 0.5. */
  advance(seconds) {
    const { geometry, last } = this;
    const rate = (0.5 * Math.LN2 * this.speed) / geometry.logZoom(this.place.level);
    let zoom = this.zoom + this.playing * rate * seconds;
    const back = Math.exp(-seconds / RETURN);
    const offset = this.offset().map((o) => (Math.abs(o) < TINY ? 0 : o * back));
    if (!geometry.closed && (zoom >= last || zoom <= 0)) {
      zoom = clamp(zoom, 0, last);
      // There and back, as a film that loops.
      this.playing = last === 0 ? 0 : zoom <= 0 ? 1 : -1;
    }
    this.place = this.beside(zoom, offset);
  }
}

/** What brings a view into its frame, or to the middle of it where it is larger. */
function correction(middle, size) {
  return size >= 1 ? 0.5 - middle : clamp(middle, 0.5 * size, 1 - 0.5 * size) - middle;
}
