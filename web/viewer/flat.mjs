/**
 * Draws the parts of a view with the browser's own scaling: quick everywhere, exact nowhere.
 *
 * @import { Layer } from "./fades.mjs"
 */

import { faded } from "./fades.mjs";
import { clamp, smooth } from "./geometry.mjs";

// Straight pieces of a rise.
const PIECES = 12;

/** Where a level is faded before it is laid over the others. @type {CanvasRenderingContext2D | null} */
let spare = null;

/**
 * @param {CanvasRenderingContext2D} context of the viewer's canvas
 * @param {Layer[]} layers outermost first, with bitmaps
 * @param {boolean} fine for a view at rest
 */
export function drawFlat(context, layers, fine) {
  const viewport = [context.canvas.width, context.canvas.height];
  context.globalCompositeOperation = "source-over";
  context.fillStyle = "#000";
  context.fillRect(0, 0, viewport[0], viewport[1]);
  for (const layer of faded(layers, viewport)) {
    const { edges, rises, opacity, power } = layer;
    const [left, right, top, bottom] = edges.map((edge, side) =>
      clamp(side % 2 ? Math.ceil(edge) : Math.floor(edge), 0, viewport[side >> 1]));
    const [wide, high] = [right - left, bottom - top];
    if (!wide || !high) continue;
    context.globalAlpha = opacity;
    if (rises.every((rise) => rise < 1)) {
      place(context, layer, fine, viewport);
      continue;
    }
    spare ??= document.createElement("canvas").getContext("2d");
    const { canvas } = spare;
    if (canvas.width < wide) canvas.width = wide;
    if (canvas.height < high) canvas.height = high;
    spare.setTransform(1, 0, 0, 1, -left, -top);
    spare.globalCompositeOperation = "source-over";
    spare.clearRect(left, top, wide, high);
    place(spare, layer, fine, viewport);
    spare.globalCompositeOperation = "destination-out";
    for (const [side, rise] of rises.entries()) {
      if (rise < 1) continue;
      const edge = edges[side];
      const end = side % 2 ? edge - rise : edge + rise;
      const gradient = side < 2 ? spare.createLinearGradient(edge, 0, end, 0) : spare.createLinearGradient(0, edge, 0, end);
      for (let i = 0; i <= PIECES; i++) {
        gradient.addColorStop(i / PIECES, `rgb(0 0 0 / ${1 - smooth(i / PIECES) ** power})`);
      }
      spare.fillStyle = gradient;
      const start = Math.floor(Math.min(edge, end));
      const across = Math.ceil(Math.max(edge, end)) - start;
      if (side < 2) spare.fillRect(start, top, across, high);
      else spare.fillRect(left, start, wide, across);
    }
    context.drawImage(canvas, 0, 0, wide, high, left, top, wide, high);
  }
  context.globalAlpha = 1;
}

/** What a viewport shows of a level, to where it lies. */
function place(context, { picture, middle, size }, fine, viewport) {
  context.imageSmoothingQuality = fine ? "high" : "medium";
  const [x, y] = [picture.width, picture.height].map((pixels, i) => {
    const start = middle[i] - 0.5 * size[i];
    const low = Math.max(start, 0);
    const seen = Math.min(start + size[i], 1) - low;
    const scale = viewport[i] / size[i];
    return [low * pixels, seen * pixels, (low - start) * scale, seen * scale];
  });
  context.drawImage(picture.bitmap, x[0], y[0], x[1], y[1], x[2], y[2], x[3], y[3]);
}
