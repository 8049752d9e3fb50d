/**
 * Where levels lie and what a camera sees of them, in plain numbers (the same as zoom_core/path.py).
 *
 * Nothing is ever expressed in the frame of a far-away level, so that level 60 of a zoom by 4 is as exact as level 1.
 *
 * @typedef {number[]} Pair  across and down
 * @typedef {{level: number, t: number, middle: Pair}} Place  the middle of a view in the frame of `level`, in fractions of
 *     it, y downwards; the view is the inset's size to the power of t: 0 is as large as the level, 1 as the next one
 * @typedef {Place & {size: Pair}} View  with the size, in fractions of the frame, of what fills the viewport
 */

// 8-point Gauss-Legendre: exact to rounding for the smooth pieces below.
const NODES = [0.1834346424956498, 0.525532409916329, 0.7966664774136267, 0.9602898564975363];
const WEIGHTS = [0.362683783378362, 0.3137066458778873, 0.2223810344533745, 0.1012285362903763];
const TOLERANCE = 1e-9;

export const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

/** The same for both axes. @param {(axis: number) => number} f */
export const both = (f) => [f(0), f(1)];

/** From 0 to 1, with a level slope at both. */
export const smooth = (u) => u * u * (3 - 2 * u);

function integral(f, low, high) {
  const half = 0.5 * (high - low);
  const middle = 0.5 * (high + low);
  return half * NODES.reduce((sum, node, i) => sum + WEIGHTS[i] * (f(middle + half * node) + f(middle - half * node)), 0);
}

/**
 * Where a view starts on one axis of its way from a frame to the inset: its size shrinks by d(scale^u) at an aim that
 * glides from `enter` through `cruise` to `leave`, each turn taking the share `turn` of the way.
 * @param {number} scale of the inset @param {number[]} way @param {number} t from 0 to 1
 */
function startOf(scale, [enter, cruise, leave, turn], t) {
  const fade = (s) => 1 - smooth(clamp(s, 0, 1));
  const aim = (u) => cruise + (enter - cruise) * fade(u / turn) + (leave - cruise) * fade((1 - u) / turn);
  const f = (u) => -Math.log(scale) * scale ** u * aim(u);
  const borders = [0, 0.5 * turn, turn, 1 - turn, 1 - 0.5 * turn, 1].map((border) => Math.min(border, t));
  const start = borders.reduce((sum, border, i) => sum + integral(f, borders[i - 1] ?? 0, border), 0);
  return clamp(start, 0, 1 - scale ** t);
}

/** The levels of a stack: insets, the camera's path, and conversions between the frames of neighbours. */
export class StackGeometry {
  /**
   * What describe_levels of zoom_core/web_levels.py gives.
   * @param {{width: number, height: number, levels: object[], closed?: boolean, insets: number[][], ways: number[][][]}} given
   */
  constructor({ width, height, levels, closed = false, insets, ways }) {
    this.pixels = [width, height];
    this.levels = levels.length;
    this.closed = closed;
    this.ways = ways;
    this.insets = insets.map(([left, top, ...size]) => ({ start: [left, top], size }));
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
    return this.insets[this.picture(level)] ?? { start: [0.25, 0.25], size: [0.5, 0.5] };
  }

  logZoom(level) {
    const { size } = this.inset(level);
    return -0.5 * Math.log(size[0] * size[1]);
  }

  /** The place of the camera's path at `zoom`, in levels: the middle of CameraPath.view. */
  onPath(zoom) {
    const level = this.closed ? Math.floor(zoom) : clamp(Math.floor(zoom), 0, this.levels - 1);
    const t = zoom - level;
    const inset = this.inset(level).size;
    const ways = this.ways.map((axis) => axis[this.picture(level)]);
    const middle = both((i) => (ways[i] && t > 0 ? startOf(inset[i], ways[i], t) + 0.5 * inset[i] ** t : 0.5));
    return { level, t, middle };
  }

  /** The same in the frame of the next level. @param {Place & Partial<View>} view @returns {View} */
  inwards({ level, t, middle, size }) {
    const inset = this.inset(level);
    return {
      level: level + 1,
      t: ((t - 1) * this.logZoom(level)) / this.logZoom(level + 1),
      middle: both((i) => (middle[i] - inset.start[i]) / inset.size[i]),
      size: size?.map((side, i) => side / inset.size[i]),
    };
  }

  /** The same in the frame of the level before. @param {Place & Partial<View>} view @returns {View} */
  outwards({ level, t, middle, size }) {
    const inset = this.inset(level - 1);
    return {
      level: level - 1,
      t: 1 + (t * this.logZoom(level)) / this.logZoom(level - 1),
      middle: both((i) => inset.start[i] + middle[i] * inset.size[i]),
      size: size?.map((side, i) => side * inset.size[i]),
    };
  }

  /** The same view, in the frame of the level that is just larger. @param {Place} place @returns {Place} */
  settled(place) {
    while (place.t < 0 && this.has(place.level - 1)) place = this.outwards(place);
    while (place.t >= 1 && this.has(place.level + 1)) place = this.inwards(place);
    return place;
  }

  /** How far the view is magnified against level 0 whole, as a natural logarithm. */
  depth({ level, t }) {
    const before = this.insets.slice(0, this.picture(level));
    return before.reduce((sum, _, i) => sum + this.logZoom(i), t * this.logZoom(level));
  }

  /** Shares of a view that a viewport of another shape shows: it is filled, the rest cut (render_view's "crop"). */
  shares(viewport) {
    const scales = both((i) => viewport[i] / this.pixels[i]);
    return scales.map((scale) => scale / Math.max(...scales));
  }

  /** What fills a viewport. @param {Place} place @param {Pair} viewport in pixels */
  filled(place, viewport) {
    const shares = this.shares(viewport);
    return { ...place, size: this.inset(place.level).size.map((side, i) => side ** place.t * shares[i]) };
  }

  /**
   * The levels that a viewport shows, outermost first: as far out as its edges need it, and inwards one level
   * more than the place's own, or until a picture has a pixel for each of the viewport's.
   * @param {Place} place @param {Pair} viewport
   */
  parts(place, viewport) {
    const found = [this.filled(place, viewport)];
    while (!contained(found[0]) && this.has(found[0].level - 1) && found.length < 64) found.unshift(this.outwards(found[0]));
    for (let part = found.at(-1); this.has(part.level + 1); found.push(part)) {
      if (part.level > place.level && part.size[0] * this.pixels[0] >= viewport[0]) break;
      part = this.inwards(part);
      if (part.size.some((side, i) => side > viewport[i] || Math.abs(part.middle[i] - 0.5) >= 0.5 * (1 + side))) break;
    }
    return found;
  }
}

/** Whether what is seen lies inside the frame. @param {View} view */
export function contained({ middle, size }) {
  return middle.every((point, i) => Math.abs(point - 0.5) + 0.5 * size[i] <= 0.5 + TOLERANCE);
}
