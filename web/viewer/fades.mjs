/**
 * How a level fades in over the one around it, as zoom_core/compose.py does.
 *
 * @typedef {import("./geometry.mjs").Rect} Rect
 * @typedef {{width: number, height: number, bitmap: ImageBitmap | null, texture: WebGLTexture | null,
 *     lods: number}} Picture  a level's picture: as the browser decoded it, on the GPU with its mipmaps, or both
 * @typedef {{picture: Picture, rect: Rect, opacity: number}} Layer  a picture, the rectangle of its frame that fills
 *     the viewport, and how far it has faded in since it was loaded
 * @typedef {[left: number, right: number, top: number, bottom: number]} Sides
 * @typedef {Layer & {edges: Sides, rises: Sides, power: number}} Faded  with its edges in viewport pixels
 *     and the pixels over which it rises from each: weight smooth(share)^power
 */

// A level rises over this share of its own size, or where the one around it is magnified over RAMP of it: that one
// has the coarse content already, and fine detail alone would begin at the border as a visible square.
const FADE = 0.04;
const RAMP = 0.3;
// ... but over no more than a share of what is visible around it.
const FADE_OF_MARGIN = 0.5;
const RAMP_OF_MARGIN = 1;
const RAMP_POWER = 1.5;

export const smooth = (u) => u * u * (3 - 2 * u);

/** @param {Layer[]} layers outermost first; that one has nothing to rise from @returns {Faded[]} */
export function faded(layers, width, height) {
  return layers.map((layer, i) => {
    const { rect } = layer;
    const sizeX = width / rect.width;
    const sizeY = height / rect.height;
    const left = -rect.left * sizeX;
    const top = -rect.top * sizeY;
    const edges = /** @type {Sides} */ ([left, left + sizeX, top, top + sizeY]);
    if (i === 0) return { ...layer, edges, rises: [0, 0, 0, 0], power: 1 };
    const around = layers[i - 1];
    // 0 where a pixel of the viewport holds one of the level around or more, 1 where it holds half of one or less.
    const magnified = smooth(Math.min(Math.max(-Math.log2((around.rect.width * around.picture.width) / width), 0), 1));
    const margins = [left, width - left - sizeX, top, height - top - sizeY];
    const rises = /** @type {Sides} */ (margins.map((margin, side) => {
      const size = side < 2 ? sizeX : sizeY;
      const room = Math.max(margin, 0);
      const fade = Math.min(FADE * size, FADE_OF_MARGIN * room);
      return fade + (Math.min(RAMP * size, RAMP_OF_MARGIN * room) - fade) * magnified;
    }));
    return { ...layer, edges, rises, power: 1 + (RAMP_POWER - 1) * magnified };
  });
}
