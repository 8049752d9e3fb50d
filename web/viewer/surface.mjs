/**
 * What all viewers of a page share: who draws, one queue for work that takes several frames, one limit of memory.
 *
 * A graphics card draws all. Where the processor draws in its place, a view in motion is left to the browser's own
 * scaling, and WebGL draws it when it rests; without WebGL2 the browser's scaling draws both.
 *
 * @import { Layer, Picture } from "./fades.mjs"
 * @import { Levels } from "./loader.mjs"
 */

import { drawFlat } from "./flat.mjs";
import { WebGLRenderer, nextFrame } from "./renderer.mjs";

// Bytes of pictures kept by all viewers together; the ones that were looked at longest ago give theirs back.
const BUDGET = 384 << 20;

class Surface {
  /** The one that was looked at last comes last. @type {Set<Levels>} */
  viewers = new Set();
  /** @type {WebGLRenderer | null} */
  renderer = null;
  /** Until it is known who draws. */
  ready = this.begin();
  /** Until the work is done that was given out so far. @type {Promise<void>} */
  turn = this.ready;

  async begin() {
    // The page appears first.
    await nextFrame();
    try {
      const renderer = new WebGLRenderer(() => [...this.viewers].forEach((viewer) => viewer.onRenderer()));
      for (const _ of renderer.prepare()) await nextFrame();
      this.renderer = renderer;
    } catch {
      // No WebGL2.
    }
  }

  /** WebGL, while there is one. */
  get webgl() {
    return this.renderer?.lost ? null : this.renderer;
  }

  /** WebGL where it is quick enough for a view in motion. */
  get quick() {
    return this.webgl?.slow ? null : this.webgl;
  }

  /** One after the other, so that no frame has more than one step of work. @param {() => Promise<void> | void} work */
  inTurn(work) {
    const done = this.turn.then(work);
    this.turn = done.catch(() => {});
    return done;
  }

  /** Make a picture ready to be drawn in motion. @param {Picture} picture */
  async fill(picture) {
    if (this.quick) await this.inTurn(() => this.quick?.upload(picture));
  }

  /** @param {CanvasRenderingContext2D} context @param {Layer[]} layers outermost first */
  draw(context, layers) {
    if (this.quick && layers.every(({ picture }) => picture.texture)) this.quick.draw(context, layers, false);
    else drawFlat(context, layers, false);
  }

  /**
   * Draw as exactly as can be, which may take several frames.
   * @param {CanvasRenderingContext2D} context @param {Layer[]} layers
   * @param {() => boolean} wanted
   */
  drawExactly(context, layers, wanted) {
    const going = () => wanted() && layers.every(({ picture }) => picture.bitmap ?? picture.texture);
    return this.inTurn(async () => {
      const { webgl } = this;
      for (const { picture } of layers) {
        if (!picture.texture) await webgl?.upload(picture, going);
      }
      if (!going()) return;
      if (webgl) await webgl.draw(context, layers, true, going);
      else drawFlat(context, layers, true);
    });
  }

  /** Give back what a picture holds; work on it ends. @param {Picture} picture */
  free(picture) {
    picture.bitmap?.close();
    this.renderer?.gl.deleteTexture(picture.texture);
    picture.bitmap = picture.texture = null;
  }

  /** A viewer is looked at; where all hold too much, others let go of theirs. */
  use(viewer) {
    this.viewers.delete(viewer);
    this.viewers.add(viewer);
    const all = [...this.viewers];
    let held = all.reduce((sum, { bytes }) => sum + bytes, 0);
    for (const other of all.slice(0, -1)) {
      if (held <= BUDGET) return;
      held -= other.bytes;
      other.release();
    }
  }
}

/** @type {Surface | undefined} */
let shared;

export const surface = () => (shared ??= new Surface());
