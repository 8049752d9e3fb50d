/**
 * Brings the levels of one stack from their files to the renderer: outermost first, and the pictures only of the levels
 * around the one that is looked at. Decoding runs beside the page's own thread.
 */

import { surface } from "./surface.mjs";

const THUMBNAIL = 96;
// Levels kept either side of the one that is looked at, and what one viewer may take for them.
const AROUND = 3;
const BYTES = 256 << 20;
// Encoded levels kept in memory; beyond it they are read again.
const KEEP = 64 << 20;
const FADE_IN = 220;

export class Levels {
  /**
   * @param {import("./geometry.mjs").StackGeometry} geometry
   * @param {(level: number) => Promise<Blob | ImageBitmap>} read gives a level's picture, or fails
   * @param {{onChange: () => void, onThumbnail: (level: number, bitmap: ImageBitmap) => void,
   *     onMissing: (level: number) => void}} listener
   */
  constructor(geometry, read, listener) {
    this.geometry = geometry;
    this.read = read;
    this.listener = listener;
    this.entries = Array.from({ length: geometry.levels }, () => ({
      blob: null, picture: null, coming: null, busy: false, missing: false, since: 0,
      version: 0, thumbnail: 0,
    }));
    this.kept = 0;
    this.bytes = 0;
    this.lastUsed = 0;
    this.center = 0;
    this.working = false;
    this.closed = false;
    // Counts the renderers: a picture of an earlier one is worth nothing.
    this.generation = 0;
    // Counts what the levels show: pictures of an earlier version stay until the newer ones are there.
    this.version = 1;
    surface().viewers.add(this);
  }

  /** How many levels either side are kept. */
  get around() {
    const one = this.geometry.width * this.geometry.height * surface().bytesOfPixel;
    return Math.max(1, Math.min(AROUND, Math.floor((BYTES / one - 1) / 2)));
  }

  /** Look at a level (its number may go round the circle of an endless stack). */
  look(level) {
    this.center = level;
    this.lastUsed = performance.now();
    for (const [index, entry] of this.entries.entries()) {
      if ((entry.picture || entry.coming) && this.distance(index) > this.around + 1) this.forget(entry);
    }
    this.work();
  }

  /** The levels show something new. */
  replace(read) {
    this.read = read;
    this.version++;
    for (const entry of this.entries) entry.missing = false;
    this.work();
  }

  distance(index) {
    const apart = Math.abs(index - this.geometry.picture(this.center));
    return this.geometry.closed ? Math.min(apart, this.geometry.levels - apart) : apart;
  }

  /** The picture of a level and how far it has faded in, or null. */
  get(level, now) {
    const entry = this.entries[this.geometry.picture(level)];
    if (!entry.picture) return null;
    return { picture: entry.picture, opacity: Math.min(1, (now - entry.since) / FADE_IN) };
  }

  /** Whether a level is still to come. */
  awaits(level) {
    return !this.entries[this.geometry.picture(level)].missing;
  }

  /**
   * The next level to bring, outermost first: those near enough, then those that have not even a thumbnail, then
   * what has changed.
   */
  next() {
    const { version } = this;
    const all = [...this.entries.entries()].filter(([, entry]) => !entry.missing && !entry.busy);
    const near = all.filter(([index, entry]) => entry.version !== version && this.distance(index) <= this.around);
    return near.find(([, entry]) => !entry.picture) ?? all.find(([, entry]) => !entry.thumbnail) ?? near[0] ??
      all.find(([, entry]) => entry.thumbnail !== version) ?? null;
  }

  async work() {
    if (this.working || this.closed) return;
    this.working = true;
    try {
      for (let found = this.next(); found && !this.closed; found = this.next()) await this.bring(...found);
    } finally {
      this.working = false;
    }
  }

  async bring(index, entry) {
    entry.busy = true;
    const { generation, version } = this;
    try {
      const known = entry.blob?.version === version ? entry.blob.data : null;
      const blob = known ?? (await this.read(index));
      if (this.closed) return;
      this.keep(entry, blob, version);
      await this.showThumbnail(index, entry, blob, version);
      if (this.distance(index) > this.around) return;
      const { width, height } = this.geometry;
      const scale = Math.min(1, surface().largest / Math.max(width, height));
      const smaller = { resizeWidth: Math.round(width * scale), resizeHeight: Math.round(height * scale) };
      const bitmap = await createImageBitmap(blob, {
        colorSpaceConversion: "none",
        ...(scale < 1 ? { ...smaller, resizeQuality: "high" } : {}),
      });
      if (this.closed || generation !== this.generation) {
        bitmap.close();
        return;
      }
      await this.fill(entry, bitmap, version);
    } catch {
      if (this.closed) return;
      entry.missing = true;
      this.listener.onMissing(index);
    } finally {
      entry.busy = false;
    }
  }

  fill(entry, bitmap, version) {
    const picture = { width: bitmap.width, height: bitmap.height, bitmap, texture: null, lods: 0 };
    entry.coming = picture;
    this.count(picture);
    return new Promise((resolve) => {
      surface().fill(picture, () => {
        if (entry.coming === picture) {
          const before = entry.picture;
          if (before) this.free(before);
          else entry.since = performance.now();
          entry.coming = null;
          entry.picture = picture;
          entry.version = version;
          this.listener.onChange();
        }
        resolve();
      });
    });
  }

  async showThumbnail(index, entry, blob, version) {
    if (entry.thumbnail === version) return;
    const { width, height } = this.geometry;
    const scale = THUMBNAIL / Math.min(width, height);
    const bitmap = await createImageBitmap(blob, {
      resizeWidth: Math.max(1, Math.round(Math.min(width * scale, 4 * THUMBNAIL))),
      resizeHeight: Math.max(1, Math.round(Math.min(height * scale, 4 * THUMBNAIL))),
      resizeQuality: "medium",
    });
    entry.thumbnail = version;
    if (!this.closed) this.listener.onThumbnail(index, bitmap);
    bitmap.close();
  }

  keep(entry, data, version) {
    if (entry.blob) this.kept -= entry.blob.data.size;
    entry.blob = null;
    if (!(data instanceof Blob) || this.kept + data.size > KEEP) return;
    entry.blob = { data, version };
    this.kept += data.size;
  }

  count(picture) {
    picture.bytes = picture.width * picture.height * surface().bytesOfPixel;
    this.bytes += picture.bytes;
    surface().account(picture.bytes, this);
  }

  free(picture) {
    this.bytes -= picture.bytes;
    surface().account(-picture.bytes, this);
    surface().free(picture);
  }

  forget(entry) {
    const held = [entry.picture, entry.coming];
    entry.picture = entry.coming = null;
    entry.version = 0;
    for (const picture of held) {
      if (picture) this.free(picture);
    }
  }

  /** Let go of all pictures; what is drawn stays, and looking again brings them back. */
  release() {
    for (const entry of this.entries) this.forget(entry);
  }

  /** The renderer was lost or is back: make the pictures anew. */
  onRenderer() {
    this.generation++;
    this.release();
    this.look(this.center);
    this.listener.onChange();
  }

  close() {
    this.closed = true;
    this.release();
    surface().viewers.delete(this);
  }
}
