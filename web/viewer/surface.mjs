/**
 * What all viewers of a page share: one renderer, one queue for the work of filling pictures, one limit of memory.
 */

import { FlatRenderer, WebGLRenderer } from "./renderer.mjs";

// Bytes of pictures kept by all viewers together; the ones that were looked at longest ago give theirs back.
const BUDGET = 384 << 20;

class Surface {
  constructor() {
    this.viewers = new Set();
    this.queue = [];
    this.bytes = 0;
    this.flat = new FlatRenderer();
    this.webgl = null;
    try {
      this.webgl = new WebGLRenderer(() => this.changed());
    } catch {
      // Without WebGL2 the browser's own scaling draws.
    }
  }

  /** The renderer of the moment: WebGL2, or 2D where there is none or its context is lost. */
  get renderer() {
    return this.webgl && !this.webgl.lost ? this.webgl : this.flat;
  }

  changed() {
    this.queue = [];
    for (const viewer of this.viewers) viewer.onRenderer();
  }

  /** Fill a picture, a slice a frame, then call `done`. */
  fill(picture, done) {
    this.queue.push({ picture, done });
    if (this.queue.length === 1) this.next();
  }

  next() {
    requestAnimationFrame(() => {
      const job = this.queue[0];
      if (!job) return;
      if (job.picture.steps.next().done) {
        this.queue.shift();
        job.done();
      }
      if (this.queue.length) this.next();
    });
  }

  /** Stop filling a picture that is not wanted any more. */
  drop(picture) {
    // The first one goes by itself: its steps are over with the next frame.
    this.queue = this.queue.filter((job, i) => i === 0 || job.picture !== picture);
    if (this.queue[0]?.picture === picture) {
      picture.steps.return();
      this.queue[0].done = nothing;
    }
  }

  /** Count a viewer's memory; where all hold too much, others let go of theirs. */
  account(bytes, viewer) {
    this.bytes += bytes;
    viewer.lastUsed = performance.now();
    if (this.bytes <= BUDGET) return;
    const others = [...this.viewers].filter((other) => other !== viewer && other.bytes > 0);
    others.sort((a, b) => a.lastUsed - b.lastUsed);
    for (const other of others) {
      if (this.bytes <= BUDGET) return;
      other.release();
    }
  }
}

function nothing() {}

let shared = null;

/** @returns {Surface} */
export function surface() {
  shared ??= new Surface();
  return shared;
}
