/**
 * How a level fades in over the one around it, as zoom_core/compose.py does.
 *
 * @import { Pair, View } from "./geometry.mjs"
 * @typedef {{width: number, height: number, bitmap: ImageBitmap | null, texture: WebGLTexture | null,
 *     lods: number}} Picture  a level's picture: as the browser decoded it, on the GPU with its mipmaps, or both
 * @typedef {View & {picture: Picture, opacity: number}} Layer  what is seen of a level, its picture, and how far that has
 *     faded in since it was loaded
 * @typedef {number[]} Sides  left, right, top, bottom
 * @typedef {Layer & {edges: Sides, rises: Sides, power: number}} Faded  with its edges in viewport pixels, and the pixels
 *     over which it rises from each by the weight smooth(share)^power
 */

import { clamp, smooth } from "./geometry.mjs";

// A level rises over this share of its own size, or where the one around it is magnified over RAMP of it: that one
// has the coarse content already, and fine detail alone would begin at the border as a visible square.
const FADE = 0.04;
const RAMP = 0.3;
// ... but over no more than a share of what is visible around it.
const FADE_OF_MARGIN = 0.5;
const RAMP_POWER = 1.5;

/** @param {Layer[]} layers outermost first; that one has nothing to rise from @param {Pair} viewport @returns {Faded[]} */
export function faded(layers, viewport) {
  return layers.map((layer, i) => {
    const sizes = viewport.map((pixels, axis) => pixels / layer.size[axis]);
    const edges = sizes.flatMap((size, axis) => {
      const low = 0.5 * viewport[axis] - layer.middle[axis] * size;
      return [low, low + size];
    });
    const around = layers[i - 1];
    if (!around) return { ...layer, edges, rises: [0, 0, 0, 0], power: 1 };
    // 0 where a pixel of the viewport holds one of the level around or more, 1 where it holds half of one or less.
    const magnified = smooth(clamp(-Math.log2((around.size[0] * around.picture.width) / viewport[0]), 0, 1));
    const rises = edges.map((edge, side) => {
      const size = sizes[side >> 1];
      const room = Math.max(side % 2 ? viewport[side >> 1] - edge : edge, 0);
      const fade = Math.min(FADE * size, FADE_OF_MARGIN * room);
      return fade + (Math.min(RAMP * size, room) - fade) * magnified;
    });
    return { ...layer, edges, rises, power: 1 + (RAMP_POWER - 1) * magnified };
  });
}
