/**
 * How a level fades in over the one around it, as zoom_core/compose.py does.
 *
 * @typedef {import("./geometry.mjs").Rect} Rect
 * @typedef {{width: number, height: number, bitmap: ImageBitmap | null, texture: WebGLTexture | null,
 *     lods: number}} Picture  a level's picture: as the browser decoded it, on the GPU with its mipmaps, or both
 * @typedef {{picture: Picture, rect: Rect, opacity: number}} Layer  a picture, the rectangle of its frame that fills
 *     the viewport, and how far it has faded in since it was loaded
 * @typedef {[left: number, right: number, top: number, bottom: number]} Sides
 * @typedef {Layer & {edges: Sides, rises: Sides, power: number, box: Rect}} Faded  with its edges in viewport pixels, the
 *     pixels over which it rises from each by the weight smooth(share)^power, and the whole pixels that it touches
 */

import { clamp } from "./geometry.mjs";

// A level rises over this share of its own size, or where the one around it is magnified over RAMP of it: that one
// has the coarse content already, and fine detail alone would begin at the border as a visible square.
const FADE = 0.04;
const RAMP = 0.3;
// ... but over no more than a share of what is visible around it.
const FADE_OF_MARGIN = 0.5;
const RAMP_POWER = 1.5;

export const smooth = (u) => u * u * (3 - 2 * u);

/** @param {Layer[]} layers outermost first; that one has nothing to rise from @returns {Faded[]} those in sight */
export function faded(layers, width, height) {
  const all = layers.map((layer, i) => {
    const sizes = [width / layer.rect.width, height / layer.rect.height];
    const left = -layer.rect.left * sizes[0];
    const top = -layer.rect.top * sizes[1];
    const edges = /** @type {Sides} */ ([left, left + sizes[0], top, top + sizes[1]]);
    const [x, right, y, bottom] = edges.map((edge, side) =>
      clamp(side % 2 ? Math.ceil(edge) : Math.floor(edge), 0, side < 2 ? width : height));
    const box = { left: x, top: y, width: right - x, height: bottom - y };
    if (i === 0) return { ...layer, edges, box, rises: /** @type {Sides} */ ([0, 0, 0, 0]), power: 1 };
    const around = layers[i - 1];
    // 0 where a pixel of the viewport holds one of the level around or more, 1 where it holds half of one or less.
    const magnified = smooth(clamp(-Math.log2((around.rect.width * around.picture.width) / width), 0, 1));
    const margins = [left, width - edges[1], top, height - edges[3]];
    const rises = /** @type {Sides} */ (margins.map((margin, side) => {
      const size = sizes[side >> 1];
      const room = Math.max(margin, 0);
      const fade = Math.min(FADE * size, FADE_OF_MARGIN * room);
      return fade + (Math.min(RAMP * size, room) - fade) * magnified;
    }));
    return { ...layer, edges, box, rises, power: 1 + (RAMP_POWER - 1) * magnified };
  });
  return all.filter(({ box }) => box.width > 0 && box.height > 0);
}
