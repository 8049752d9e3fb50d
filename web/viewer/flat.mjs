/** Draws the parts of a view with the browser's own scaling: quick everywhere, exact nowhere. */

import { faded, smooth } from "./fades.mjs";

// Straight pieces of a rise.
const PIECES = 12;

/** Where a level is faded before it is laid over the others. @type {CanvasRenderingContext2D | null} */
let spare = null;

/**
 * @param {CanvasRenderingContext2D} context of the viewer's canvas
 * @param {import("./fades.mjs").Layer[]} layers outermost first, with bitmaps
 * @param {boolean} fine for a view at rest
 */
export function drawFlat(context, layers, fine) {
  const { width, height } = context.canvas;
  context.globalCompositeOperation = "source-over";
  context.fillStyle = "#000";
  context.fillRect(0, 0, width, height);
  for (const layer of faded(layers, width, height)) {
    const { edges, rises, opacity, power, box: { left, top, width: wide, height: high } } = layer;
    context.globalAlpha = opacity;
    if (rises.every((rise) => rise < 1)) {
      place(context, layer, fine, width, height);
      continue;
    }
    spare ??= document.createElement("canvas").getContext("2d");
    const { canvas } = spare;
    if (canvas.width < wide) canvas.width = wide;
    if (canvas.height < high) canvas.height = high;
    spare.setTransform(1, 0, 0, 1, -left, -top);
    spare.globalCompositeOperation = "source-over";
    spare.clearRect(left, top, wide, high);
    place(spare, layer, fine, width, height);
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

/** What a viewport of width x height shows of a level, to where it lies. */
function place(context, { picture, rect }, fine, width, height) {
  context.imageSmoothingQuality = fine ? "high" : "medium";
  const left = Math.max(rect.left, 0);
  const top = Math.max(rect.top, 0);
  const wide = Math.min(rect.left + rect.width, 1) - left;
  const high = Math.min(rect.top + rect.height, 1) - top;
  const [x, y] = [width / rect.width, height / rect.height];
  context.drawImage(
    picture.bitmap, left * picture.width, top * picture.height, wide * picture.width, high * picture.height,
    (left - rect.left) * x, (top - rect.top) * y, wide * x, high * y,
  );
}
