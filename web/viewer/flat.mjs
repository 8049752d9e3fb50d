/** Draws the parts of a view with the browser's own scaling: quick everywhere, exact nowhere. */

import { faded, smooth } from "./fades.mjs";

// Straight pieces of a rise.
const PIECES = 12;

/** Where a level is faded before it is laid over the others. @type {CanvasRenderingContext2D | null} */
let spare = null;

/**
 * @param {CanvasRenderingContext2D} context of the viewer's canvas, width x height pixels
 * @param {import("./fades.mjs").Layer[]} layers outermost first, with bitmaps
 * @param {boolean} fine for a view at rest
 */
export function drawFlat(context, width, height, layers, fine) {
  context.globalCompositeOperation = "source-over";
  context.globalAlpha = 1;
  context.fillStyle = "#000";
  context.fillRect(0, 0, width, height);
  for (const layer of faded(layers, width, height)) {
    const { edges, rises, opacity } = layer;
    const left = Math.max(0, Math.floor(edges[0]));
    const top = Math.max(0, Math.floor(edges[2]));
    const wide = Math.min(width, Math.ceil(edges[1])) - left;
    const high = Math.min(height, Math.ceil(edges[3])) - top;
    if (wide <= 0 || high <= 0) continue;
    context.globalAlpha = opacity;
    if (rises.every((rise) => rise < 1)) {
      place(context, layer, width, height, fine);
      continue;
    }
    spare ??= document.createElement("canvas").getContext("2d");
    if (spare.canvas.width < wide || spare.canvas.height < high) {
      spare.canvas.width = Math.max(spare.canvas.width, wide);
      spare.canvas.height = Math.max(spare.canvas.height, high);
    }
    spare.setTransform(1, 0, 0, 1, -left, -top);
    spare.globalCompositeOperation = "source-over";
    spare.clearRect(left, top, wide, high);
    place(spare, layer, width, height, fine);
    spare.globalCompositeOperation = "destination-out";
    for (const [side, rise] of rises.entries()) {
      if (rise < 1) continue;
      const edge = edges[side];
      const end = side % 2 ? edge - rise : edge + rise;
      const gradient = side < 2 ? spare.createLinearGradient(edge, 0, end, 0) : spare.createLinearGradient(0, edge, 0, end);
      for (let i = 0; i <= PIECES; i++) {
        gradient.addColorStop(i / PIECES, `rgb(0 0 0 / ${1 - smooth(i / PIECES) ** layer.power})`);
      }
      spare.fillStyle = gradient;
      const start = Math.floor(Math.min(edge, end));
      const across = Math.ceil(Math.max(edge, end)) - start;
      if (side < 2) spare.fillRect(start, top, across, high);
      else spare.fillRect(left, start, wide, across);
    }
    context.drawImage(spare.canvas, 0, 0, wide, high, left, top, wide, high);
  }
  context.globalAlpha = 1;
}

/** What the viewport shows of a level, to where it lies. */
function place(context, { picture, rect }, width, height, fine) {
  context.imageSmoothingQuality = fine ? "high" : "medium";
  const left = Math.max(rect.left, 0);
  const top = Math.max(rect.top, 0);
  const right = Math.min(rect.left + rect.width, 1);
  const bottom = Math.min(rect.top + rect.height, 1);
  const [x, y] = [width / rect.width, height / rect.height];
  context.drawImage(
    picture.bitmap,
    left * picture.width,
    top * picture.height,
    (right - left) * picture.width,
    (bottom - top) * picture.height,
    (left - rect.left) * x,
    (top - rect.top) * y,
    (right - left) * x,
    (bottom - top) * y,
  );
}
