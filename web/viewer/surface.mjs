/**
 * What all viewers of a page share: who draws, one queue for work that takes several frames, one limit of memory.
 *
 * A graphics card draws all. Where the processor draws in its place, a view in motion is left to the browser's own
 * scaling, and WebGL draws it when it rests; without WebGL2 the browser's scaling draws both.
 *
 * @typedef {import("./fades.mjs").Picture} Picture
 * @typedef {import("./fades.mjs").Layer} Layer
 * @typedef {{steps: Iterator<void>, pictures: Picture[], done: () => void, over: boolean}} Job
 */

import { drawFlat } from "./flat.mjs";
import { WebGLRenderer } from "./renderer.mjs";

// Bytes of pictures kept by all viewers together; the ones that were looked at longest ago give theirs back.
const BUDGET = 384 << 20;
const LARGEST_BITMAP = 8192;

class Surface {
  constructor() {
    /** @type {Set<import("./loader.mjs").Levels>} */
    this.viewers = new Set();
    /** @type {Job[]} */
    this.queue = [];
    this.frame = 0;
    this.bytes = 0;
    /** @type {WebGLRenderer | null} */
    this.renderer = null;
    /** When it is known who draws. @type {Promise<void>} */
    this.ready = new Promise((done) => this.run(this.begin(), [], done));
  }

  *begin() {
    // The page appears first.
    yield;
    try {
      const renderer = new WebGLRenderer(() => this.changed());
      yield;
      yield* renderer.prepare();
      this.renderer = renderer;
    } catch {
      // Without WebGL2 the browser's own scaling draws.
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

  get largest() {
    return this.webgl?.largest ?? LARGEST_BITMAP;
  }

  /** Bytes that a pixel of a picture takes: bitmap, texture with mipmaps, or both. */
  get bytesOfPixel() {
    return this.quick ? 5.4 : this.webgl ? 9.4 : 4;
  }

  changed() {
    for (const job of this.queue) this.end(job);
    for (const viewer of this.viewers) viewer.onRenderer();
  }

  /** Make a picture ready to be drawn in motion, then call `done`. */
  fill(picture, done) {
    this.run(this.filled(picture), [picture], done);
  }

  *filled(picture) {
    if (!this.quick) return;
    yield* this.quick.upload(picture);
    picture.bitmap.close();
    picture.bitmap = null;
  }

  /** @param {CanvasRenderingContext2D} context @param {Layer[]} layers outermost first */
  draw(context, layers) {
    if (this.quick && layers.every(({ picture }) => picture.texture)) this.quick.draw(context, layers, false).next();
    else drawFlat(context, layers, false);
  }

  /** Draw as exactly as can be, which may take several frames, then call `done`. @returns {Job} for `drop` */
  drawExactly(context, layers, done) {
    return this.run(this.exactly(context, layers), layers.map(({ picture }) => picture), done);
  }

  *exactly(context, layers) {
    if (!this.webgl) return drawFlat(context, layers, true);
    for (const { picture } of layers) {
      if (!picture.texture) yield* this.webgl.upload(picture);
    }
    yield* this.webgl.draw(context, layers, true);
  }

  /** One step a frame; what is quick needs no turn. @returns {Job} */
  run(steps, pictures, done) {
    const job = { steps, pictures, done, over: false };
    this.queue.push(job);
    if (steps.next().done) this.end(job);
    this.wait();
    return job;
  }

  wait() {
    if (!this.queue.length) return;
    this.frame ||= requestAnimationFrame(() => {
      this.frame = 0;
      const [job] = this.queue;
      if (job?.steps.next().done) this.end(job);
      this.wait();
    });
  }

  end(job) {
    // An end may have ended others.
    if (!this.queue.includes(job)) return;
    this.drop(job);
    job.over = true;
    job.done();
  }

  /** Leave a job as it is. */
  drop(job) {
    job.steps.return();
    this.queue = this.queue.filter((other) => other !== job);
  }

  /** Give back what a picture holds; work on it is over. */
  free(picture) {
    for (const job of this.queue) if (job.pictures.includes(picture)) this.end(job);
    picture.bitmap?.close();
    this.renderer?.gl.deleteTexture(picture.texture);
    picture.bitmap = picture.texture = null;
  }

  /** Count a viewer's memory; where all hold too much, others let go of theirs. */
  account(bytes, viewer) {
    this.bytes += bytes;
    if (bytes < 0) return;
    viewer.lastUsed = performance.now();
    const others = [...this.viewers].filter((other) => other !== viewer && other.bytes > 0);
    others.sort((a, b) => a.lastUsed - b.lastUsed);
    for (const other of others) {
      if (this.bytes > BUDGET) other.release();
    }
  }
}

/** @type {Surface | null} */
let shared = null;

/** @returns {Surface} */
export function surface() {
  shared ??= new Surface();
  return shared;
}
