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

/** @param {CanvasRenderingContext2D} context @param {Layer[]} layers outermost first @param {boolean} fine at rest */
export function drawFlat(context, layers, fine) {
  const viewport = [context.canvas.width, context.canvas.height];
  context.globalCompositeOperation = "source-over";
  context.clearRect(0, 0, viewport[0], viewport[1]);
  for (const { picture, edges, rises, opacity, power } of faded(layers, viewport)) {
    // Most of a magnified level lies outside, where the canvas cuts it.
    const place = (canvas) => {
      canvas.imageSmoothingQuality = fine ? "high" : "medium";
      canvas.drawImage(picture.bitmap, edges[0], edges[2], edges[1] - edges[0], edges[3] - edges[2]);
    };
    const [left, right, top, bottom] = edges.map((edge, side) =>
      clamp(side % 2 ? Math.ceil(edge) : Math.floor(edge), 0, viewport[side >> 1]));
    const [wide, high] = [right - left, bottom - top];
    if (!wide || !high) continue;
    context.globalAlpha = opacity;
    if (rises.every((rise) => rise < 1)) {
      place(context);
      continue;
    }
    spare ??= document.createElement("canvas").getContext("2d");
    const { canvas } = spare;
    if (canvas.width < wide) canvas.width = wide;
    if (canvas.height < high) canvas.height = high;
    spare.setTransform(1, 0, 0, 1, -left, -top);
    spare.globalCompositeOperation = "source-over";
    spare.clearRect(left, top, wide, high);
    place(spare);
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
