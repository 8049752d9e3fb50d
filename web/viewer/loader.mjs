/**
 * Brings the levels of one stack from their files to the renderer: outermost first, and the pictures only of the levels
 * around the one that is looked at. Decoding runs beside the page's own thread.
 *
 * @import { StackGeometry } from "./geometry.mjs"
 * @import { Viewer } from "./viewer.mjs"
 */

import { clamp } from "./geometry.mjs";
import { surface } from "./surface.mjs";

// Levels kept either side of the one that is looked at, and what one viewer may take for them.
const AROUND = 3;
const BYTES = 256 << 20;
const FADE_IN = 220;

export class Levels {
  center = 0;
  working = false;
  closed = false;

  /** @param {StackGeometry} geometry @param {(level: number) => Promise<Blob | ImageBitmap>} read @param {Viewer} viewer */
  constructor(geometry, read, viewer) {
    this.geometry = geometry;
    this.read = read;
    this.viewer = viewer;
    this.entries = Array.from({ length: geometry.levels }, () => ({
      data: null, picture: null, coming: null, missing: false, since: 0, shown: null, thumbnail: null,
    }));
  }

  /** What a picture takes: a bitmap, a texture with mipmaps, or both. */
  get bytesOfLevel() {
    const [width, height] = this.geometry.pixels;
    const { quick, webgl } = surface();
    return width * height * (quick ? 5.4 : webgl ? 9.4 : 4);
  }

  /** What all pictures take. */
  get bytes() {
    return this.entries.filter(({ picture, coming }) => picture ?? coming).length * this.bytesOfLevel;
  }

  get around() {
    return clamp(Math.floor((BYTES / this.bytesOfLevel - 1) / 2), 1, AROUND);
  }

  /** Look at a level (its number may go round the circle of an endless stack). */
  look(level) {
    this.center = level;
    surface().use(this);
    for (const [index, entry] of this.entries.entries()) {
      if (this.distance(index) > this.around + 1) this.forget(entry);
    }
    this.work();
  }

  /** The levels show something new; what was read before stays until the newer pictures are there. */
  replace(read) {
    this.read = read;
    for (const entry of this.entries) Object.assign(entry, { missing: false, data: null });
    this.work();
  }

  distance(index) {
    const apart = Math.abs(index - this.geometry.picture(this.center));
    return this.geometry.closed ? Math.min(apart, this.geometry.levels - apart) : apart;
  }

  /** What there is of a level, and how far it has faded in. */
  get(level, now) {
    const { picture, missing, since } = this.entries[this.geometry.picture(level)];
    return { picture, missing, opacity: Math.min(1, (now - since) / FADE_IN) };
  }

  /**
   * The next level to bring, outermost first: those near enough, then those that have not even a thumbnail, then
   * what has changed.
   */
  next() {
    const { read } = this;
    const all = [...this.entries.entries()].filter(([, { missing }]) => !missing);
    const near = all.filter(([index, entry]) => entry.shown !== read && this.distance(index) <= this.around);
    return near.find(([, { picture }]) => !picture) ?? all.find(([, { thumbnail }]) => !thumbnail) ?? near[0] ??
      all.find(([, { thumbnail }]) => thumbnail !== read);
  }

  async work() {
    if (this.working) return;
    this.working = true;
    await surface().ready;
    for (let found; !this.closed && (found = this.next());) await this.bring(...found);
    this.working = false;
  }

  async bring(index, entry) {
    const { read } = this;
    try {
      const bitmap = await decoded(await (entry.data ??= read(index)), this.geometry.pixels);
      if (this.closed) return bitmap.close();
      if (entry.thumbnail !== read) {
        entry.thumbnail = read;
        this.viewer.came(index, bitmap);
      }
      if (this.distance(index) <= this.around) await this.fill(entry, bitmap, read);
      else bitmap.close();
    } catch {
      if (this.closed || read !== this.read) return;
      entry.missing = true;
      this.viewer.miss(index);
    }
  }

  async fill(entry, bitmap, read) {
    const picture = { width: bitmap.width, height: bitmap.height, bitmap, texture: null, lods: 0 };
    entry.coming = picture;
    await surface().fill(picture);
    // Forgotten meanwhile?
    if (entry.coming !== picture) return;
    if (entry.picture) surface().free(entry.picture);
    else entry.since = performance.now();
    Object.assign(entry, { coming: null, picture, shown: read });
    this.viewer.changed();
  }

  forget(entry) {
    for (const picture of [entry.picture, entry.coming]) if (picture) surface().free(picture);
    Object.assign(entry, { picture: null, coming: null, shown: null });
  }

  /** Let go of all pictures; what is drawn stays, and looking again brings them back. */
  release() {
    for (const entry of this.entries) this.forget(entry);
  }

  /** The renderer was lost or is back: make the pictures anew. */
  onRenderer() {
    this.release();
    this.look(this.center);
    this.viewer.changed();
  }

  close() {
    this.closed = true;
    this.release();
    surface().viewers.delete(this);
  }
}

/** A level's picture, no larger than the renderer can hold. @param {Blob | ImageBitmap} data @param {number[]} pixels */
function decoded(data, [width, height]) {
  const largest = surface().webgl?.largest ?? Infinity;
  const side = width > height ? "resizeWidth" : "resizeHeight";
  const size = Math.max(width, height) > largest ? largest : undefined;
  return createImageBitmap(data, { colorSpaceConversion: "none", resizeQuality: "high", [side]: size });
}
