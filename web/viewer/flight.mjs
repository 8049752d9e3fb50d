/**
 * Where the viewer is and how it moves: wheel and drag with inertia, glides to a level, play along the camera's path.
 *
 * @typedef {import("./geometry.mjs").Place} Place
 */

// Time constants in seconds.
const WHEEL = 0.09;
const DRIFT = 0.28;
const RETURN = 0.35;
// No deeper than a twelfth of the innermost level that lies under the middle of the view.
const SMALLEST = 1 / 12;
const TINY = 1e-4;

export class Flight {
  /** @param {import("./geometry.mjs").StackGeometry} geometry */
  constructor(geometry) {
    this.geometry = geometry;
    this.place = geometry.onPath(0);
    this.width = 1;
    this.height = 1;
    this.speed = 1;
    this.playing = 0;
    this.calm = false;
    this.stop();
  }

  /** Let all motion but playing end. */
  stop() {
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

  get moving() {
    return Boolean(this.playing || this.glide || this.pending || this.drift[0] || this.drift[1]);
  }

  /** Go at once. */
  jump(zoom) {
    this.stop();
    this.place = this.kept(this.geometry.settled(this.geometry.onPath(zoom)));
  }

  /** Stand at a place that was given out before, for example by a link. */
  stand(place) {
    this.stop();
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
  magnify(amount, u = 0, v = 0) {
    const shares = this.geometry.shares(this.width, this.height);
    const anchor = [u * shares.x, v * shares.y];
    let place = this.magnified(this.place, amount, anchor);
    if (amount > 0) {
      const excess = Math.log(SMALLEST / this.smallness(place));
      if (excess > 0) place = this.magnified(place, -Math.min(excess, amount), anchor);
    }
    this.place = this.kept(place);
  }

  /** One level's border after the other, because sizes follow each level's own inset. @returns {Place} */
  magnified(place, amount, anchor) {
    const [u, v] = anchor;
    const { geometry } = this;
    for (let left = amount; left !== 0;) {
      const log = geometry.logZoom(place.level);
      let t = place.t + left / log;
      if (left > 0 && t > 1 && geometry.has(place.level + 1)) t = 1;
      if (left < 0 && t < 0 && place.t > 0) t = 0;
      const before = geometry.size(place);
      const after = geometry.size({ level: place.level, t });
      left = Math.abs(t - place.t - left / log) < 1e-12 ? 0 : left - (t - place.t) * log;
      place = {
        level: place.level,
        t,
        x: place.x + u * (before.width - after.width),
        y: place.y + v * (before.height - after.height),
      };
      if (t === 1 && geometry.has(place.level + 1)) place = geometry.inwards(place);
      else if (t === 0 && left < 0 && geometry.has(place.level - 1)) place = geometry.outwards(place);
    }
    return geometry.settled(place);
  }

  /** The smaller side of the viewport in the innermost level that lies under its middle. */
  smallness(place) {
    const { geometry } = this;
    let { level, x, y } = place;
    let { width, height } = geometry.rect(place, geometry.shares(this.width, this.height));
    while ((x < 0 || x > 1 || y < 0 || y > 1) && geometry.has(level - 1)) {
      const inset = geometry.inset(level - 1);
      [x, y] = [inset.left + x * inset.width, inset.top + y * inset.height];
      width *= inset.width;
      height *= inset.height;
      level--;
    }
    return Math.min(width, height);
  }

  /** Move the picture by a share of the viewport. */
  pan(u, v) {
    const shares = this.geometry.shares(this.width, this.height);
    const { width, height } = this.geometry.rect(this.place, shares);
    this.place = this.kept({ ...this.place, x: this.place.x - u * width, y: this.place.y - v * height });
  }

  /** Let go with a speed, in viewports a second. */
  release(u, v) {
    this.drift = this.calm || Math.hypot(u, v) < 0.05 ? [0, 0] : [u, v];
  }

  /** The place inside what there is to see: level 0 fills the viewport, or lies in its middle. */
  kept(place) {
    const { geometry } = this;
    if (geometry.closed) return place;
    const shares = geometry.shares(this.width, this.height);
    if (place.level === 0) {
      const lowest = Math.log(Math.min(shares.x, shares.y)) / geometry.logZoom(0);
      if (place.t < lowest) place = { ...place, t: lowest };
    }
    let rect = geometry.rect(place, shares);
    let scaleX = 1;
    let scaleY = 1;
    for (let level = place.level; level > 0; level--) {
      if (rect.left >= 0 && rect.top >= 0 && rect.left + rect.width <= 1 && rect.top + rect.height <= 1) return place;
      rect = geometry.outerRect(level, rect);
      scaleX *= geometry.inset(level - 1).width;
      scaleY *= geometry.inset(level - 1).height;
    }
    const moveX = correction(rect.left, rect.width);
    const moveY = correction(rect.top, rect.height);
    if (moveX === 0 && moveY === 0) return place;
    return { ...place, x: place.x + moveX / scaleX, y: place.y + moveY / scaleY };
  }

  /** Fly to a zoom on the path, in seconds. */
  flyTo(zoom, seconds = 0.9) {
    this.pending = 0;
    this.drift = [0, 0];
    this.playing = 0;
    if (this.calm) {
      this.jump(zoom);
      return;
    }
    this.glide = { from: this.zoom, to: zoom, offset: this.offset(), passed: 0, seconds };
  }

  /** How far the view lies beside the path, in its own sizes. */
  offset() {
    const way = this.geometry.onPath(this.zoom);
    const { width, height } = this.geometry.size(this.place);
    return [(this.place.x - way.x) / width, (this.place.y - way.y) / height];
  }

  beside(zoom, offset) {
    const [u, v] = offset;
    const way = this.geometry.settled(this.geometry.onPath(zoom));
    const { width, height } = this.geometry.size(way);
    return this.kept({ ...way, x: way.x + u * width, y: way.y + v * height });
  }

  /** Play inwards (1), outwards (-1), or stand (0). */
  play(direction) {
    this.stop();
    this.playing = direction;
  }

  /** One frame later. Gives whether anything moved. @param {number} seconds */
  step(seconds) {
    if (!this.moving) return false;
    if (this.pending) {
      const share = 1 - Math.exp(-seconds / WHEEL);
      const amount = Math.abs(this.pending) < TINY ? this.pending : this.pending * share;
      this.pending -= amount;
      this.magnify(amount, ...this.anchor);
    }
    if (this.drift[0] || this.drift[1]) {
      const [u, v] = this.drift;
      this.pan(u * seconds, v * seconds);
      const left = Math.exp(-seconds / DRIFT);
      this.drift = Math.hypot(u, v) < 0.01 ? [0, 0] : [u * left, v * left];
    }
    if (this.glide) {
      const { glide } = this;
      glide.passed = Math.min(glide.passed + seconds / glide.seconds, 1);
      const s = glide.passed * glide.passed * (3 - 2 * glide.passed);
      this.place = this.beside(glide.from + (glide.to - glide.from) * s, glide.offset.map((o) => o * (1 - s)));
      if (glide.passed >= 1) {
        this.glide = null;
        this.place = this.kept(this.geometry.settled(this.geometry.onPath(glide.to)));
      }
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
      zoom = Math.min(Math.max(zoom, 0), this.last);
      // There and back, as a film that loops.
      this.playing = zoom <= 0 ? 1 : -1;
      if (this.last === 0) this.playing = 0;
    }
    this.place = this.beside(zoom, offset);
  }
}

/** What brings [start, start + size] into 0..1, or to its middle where it is larger. */
function correction(start, size) {
  if (size >= 1) return 0.5 - (start + 0.5 * size);
  if (start < 0) return -start;
  return start + size > 1 ? 1 - size - start : 0;
}
