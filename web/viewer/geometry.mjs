/**
 * Where levels lie and what a camera sees of them, in plain numbers (the same as zoom_core/path.py).
 *
 * Nothing is ever expressed in the frame of a far-away level, so that level 60 of a zoom by 4 is as exact as level 1.
 *
 * @typedef {{left: number, top: number, width: number, height: number}} Rect  in fractions of a frame, y downwards
 * @typedef {{level: number, t: number, x: number, y: number}} Place  the middle of a view (x, y) in the frame of
 *     `level`; the view is the inset's size to the power of t: 0 is as large as the level, 1 as the next one
 * @typedef {{level: number, rect: Rect}} Part  a level and the rectangle of its frame that fills the viewport
 */

// 8-point Gauss-Legendre on two halves: exact to rounding for the smooth pieces below.
const NODES = [0.1834346424956498, 0.525532409916329, 0.7966664774136267, 0.9602898564975363];
const WEIGHTS = [0.362683783378362, 0.3137066458778873, 0.2223810344533745, 0.1012285362903763];
const TOLERANCE = 1e-9;
// A fixed point this close to the border leaves no room to turn before the segment ends.
const BORDER = 1e-3;

export const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

/** 1 at s = 0 and 0 from s = 1 on, with a level slope at both. */
function fade(s) {
  const u = clamp(s, 0, 1);
  return (1 - u) ** 2 * (1 + 2 * u);
}

function integral(f, low, high) {
  const half = 0.5 * (high - low);
  const middle = 0.5 * (high + low);
  return half * NODES.reduce((sum, node, i) => sum + WEIGHTS[i] * (f(middle + half * node) + f(middle - half * node)), 0);
}

/** Integral from 0 to t of -d(scale^u) times the weight of the enter (or leave) aim. */
function pull(scale, turn, t, entering) {
  const [low, high] = entering ? [0, Math.min(t, turn)] : [1 - turn, t];
  if (high <= low) return 0;
  const rate = -Math.log(scale);
  const f = (u) => rate * scale ** u * fade(entering ? u / turn : (1 - u) / turn);
  const middle = 0.5 * (low + high);
  return integral(f, low, middle) + integral(f, middle, high);
}

/** One axis of the way from a frame to its inset; the aim glides from `enter` through a cruise to `leave`. */
class Segment {
  constructor(scale, fixed, enter, leave) {
    this.scale = scale;
    this.enter = enter;
    this.leave = leave;
    this.cruise = fixed;
    this.turn = 0.5;
    if (enter === fixed && fixed === leave) return;
    for (let tries = 0; tries < 40; tries++) {
      const byEnter = pull(scale, this.turn, 1, true);
      const byLeave = pull(scale, this.turn, 1, false);
      const whole = 1 - scale;
      this.cruise = (fixed * whole - enter * byEnter - leave * byLeave) / (whole - byEnter - byLeave);
      if (this.staysInside()) return;
      this.turn *= 0.75;
    }
  }

  staysInside() {
    for (let i = 0; i <= 64; i++) {
      const start = this.freeStart(i / 64);
      if (start < -TOLERANCE || start + this.scale ** (i / 64) > 1 + TOLERANCE) return false;
    }
    return true;
  }

  freeStart(t) {
    return this.cruise * (1 - this.scale ** t) +
      (this.enter - this.cruise) * pull(this.scale, this.turn, t, true) +
      (this.leave - this.cruise) * pull(this.scale, this.turn, t, false);
  }

  start(t) {
    return clamp(this.freeStart(t), 0, 1 - this.scale ** t);
  }
}

/** The aim at every level: halfway between the segments that meet there; round the circle where it is closed. */
function aims(fixed, closed) {
  const last = fixed.length - 1;
  const points = fixed.map((point, i) => 0.5 * ((fixed[i - 1] ?? (closed ? fixed[last] : point)) + point));
  points.push(0.5 * (fixed[last] + (closed ? fixed[0] : fixed[last])));
  for (const [i, point] of fixed.entries()) {
    if (point > BORDER && point < 1 - BORDER) continue;
    points[i + 1] = point;
    if (closed && i === last) points[0] = point;
  }
  return points;
}

/** The levels of a stack: insets, the camera's path, and conversions between the frames of neighbours. */
export class StackGeometry {
  /**
   * @param {{width: number, height: number, levels: number, closed?: boolean, insets: number[][]}} given
   *     width and height of every level in pixels; insets [left, top, width, height] in fractions of the frame
   *     around them, one a pair of neighbours, and for a closed stack one more: level 0 in the innermost level
   */
  constructor(given) {
    this.width = given.width;
    this.height = given.height;
    this.levels = given.levels;
    this.closed = Boolean(given.closed);
    this.insets = given.insets.map(([left, top, width, height]) => ({ left, top, width, height }));
    this.logZooms = this.insets.map((inset) => -0.5 * (Math.log(inset.width) + Math.log(inset.height)));
    this.axes = [["left", "width"], ["top", "height"]].map(([start, size]) => {
      const fixed = this.insets.map((inset) => (inset[size] < 1 ? inset[start] / (1 - inset[size]) : 0.5));
      const points = fixed.length ? aims(fixed, this.closed) : [];
      return fixed.map((point, i) => new Segment(this.insets[i][size], point, points[i], points[i + 1]));
    });
  }

  /** The number of a level's picture; an endless stack goes round. */
  picture(level) {
    return this.closed ? ((level % this.levels) + this.levels) % this.levels : level;
  }

  has(level) {
    return this.closed || (level >= 0 && level < this.levels);
  }

  /** Where level + 1 lies in level; beyond the innermost level a magnification of its middle by 2. */
  inset(level) {
    return this.insets[this.picture(level)] ?? { left: 0.25, top: 0.25, width: 0.5, height: 0.5 };
  }

  logZoom(level) {
    return this.logZooms[this.picture(level)] ?? Math.LN2;
  }

  /** Width and height of a view, in fractions of the frame of its level. */
  size({ level, t }) {
    const inset = this.inset(level);
    return { width: inset.width ** t, height: inset.height ** t };
  }

  /** What the camera sees on its path at `zoom`, in levels: as CameraPath.view. */
  view(zoom) {
    const level = this.closed ? Math.floor(zoom) : clamp(Math.floor(zoom), 0, this.levels - 1);
    const t = zoom - level;
    const { width, height } = this.size({ level, t });
    const [across, down] = this.axes.map((axis) => axis[this.picture(level)]);
    const start = (segment, size) => (segment && t > 0 ? segment.start(t) : 0.5 * (1 - size));
    return { level, left: start(across, width), top: start(down, height), width, height };
  }

  /** The place of the camera's path at `zoom`. @returns {Place} */
  onPath(zoom) {
    const { level, left, top, width, height } = this.view(zoom);
    return { level, t: zoom - level, x: left + 0.5 * width, y: top + 0.5 * height };
  }

  /** The place in the frame of the next level. @param {Place} place @returns {Place} */
  inwards({ level, t, x, y }) {
    const inset = this.inset(level);
    return {
      level: level + 1,
      t: ((t - 1) * this.logZoom(level)) / this.logZoom(level + 1),
      x: (x - inset.left) / inset.width,
      y: (y - inset.top) / inset.height,
    };
  }

  /** The place in the frame of the level before. @param {Place} place @returns {Place} */
  outwards({ level, t, x, y }) {
    const inset = this.inset(level - 1);
    return {
      level: level - 1,
      t: 1 + (t * this.logZoom(level)) / this.logZoom(level - 1),
      x: inset.left + x * inset.width,
      y: inset.top + y * inset.height,
    };
  }

  /** The same view, in the frame of the level that is just larger. @param {Place} place @returns {Place} */
  settled(place) {
    while (place.t < 0 && this.has(place.level - 1)) place = this.outwards(place);
    while (place.t >= 1 && this.has(place.level + 1)) place = this.inwards(place);
    return place;
  }

  /** How far the view is magnified against level 0 whole, as a natural logarithm; minus infinity never. */
  depth({ level, t }) {
    let sum = t * this.logZoom(level);
    for (let i = 0; i < level; i++) sum += this.logZoom(i);
    for (let i = level; i < 0; i++) sum -= this.logZoom(i);
    return sum;
  }

  /** Shares of a view that a viewport of another shape shows: it is filled, the rest cut (render_view's "crop"). */
  shares(viewportWidth, viewportHeight) {
    const aspect = (viewportWidth * this.height) / (viewportHeight * this.width);
    return { x: Math.min(1, aspect), y: Math.min(1, 1 / aspect) };
  }

  /** The rectangle of the place's own frame that fills the viewport. @returns {Rect} */
  rect(place, shares) {
    const size = this.size(place);
    const width = size.width * shares.x;
    const height = size.height * shares.y;
    return { left: place.x - 0.5 * width, top: place.y - 0.5 * height, width, height };
  }

  outerRect(level, rect) {
    const inset = this.inset(level - 1);
    return {
      left: inset.left + rect.left * inset.width,
      top: inset.top + rect.top * inset.height,
      width: rect.width * inset.width,
      height: rect.height * inset.height,
    };
  }

  innerRect(level, rect) {
    const inset = this.inset(level);
    return {
      left: (rect.left - inset.left) / inset.width,
      top: (rect.top - inset.top) / inset.height,
      width: rect.width / inset.width,
      height: rect.height / inset.height,
    };
  }

  /**
   * The levels that a viewport shows, outermost first: as far out as its edges need it, and inwards one level
   * more than the place's own, or until a picture has a pixel for each of the viewport's.
   * @param {Place} place
   * @returns {Part[]}
   */
  parts(place, viewportWidth, viewportHeight) {
    const found = [{ level: place.level, rect: this.rect(place, this.shares(viewportWidth, viewportHeight)) }];
    while (!contained(found[0].rect) && this.has(found[0].level - 1) && found.length < 64) {
      const { level, rect } = found[0];
      found.unshift({ level: level - 1, rect: this.outerRect(level, rect) });
    }
    for (let { level, rect } = found.at(-1); this.has(level + 1); level++) {
      if (level > place.level && rect.width * this.width >= viewportWidth) break;
      rect = this.innerRect(level, rect);
      const { left, top, width, height } = rect;
      const seen = left < 1 && top < 1 && left + width > 0 && top + height > 0;
      if (!seen || viewportWidth < width || viewportHeight < height) break;
      found.push({ level: level + 1, rect });
    }
    return found;
  }
}

/** Whether a rectangle lies inside its frame. */
export function contained({ left, top, width, height }) {
  return left >= -TOLERANCE && top >= -TOLERANCE && left + width <= 1 + TOLERANCE && top + height <= 1 + TOLERANCE;
}
