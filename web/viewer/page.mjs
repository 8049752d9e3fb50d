/** The viewer on a page of its own, with the stack inside the page and the view in the page's address. */

import { speak } from "./words.mjs";
import { Viewer } from "./viewer.mjs";

/** The bytes of a level, which stand in the page as base64. */
function levelBlob(level) {
  const letters = atob(document.getElementById(`level-${level}`).textContent);
  const bytes = new Uint8Array(letters.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = letters.charCodeAt(i);
  return new Blob([bytes], { type: "image/webp" });
}

/** "#at=3,0.5,0.5,0.5": level, t, x, y. @returns {import("./geometry.mjs").Place | null} */
function placeInAddress() {
  const numbers = /^#at=([-\d.e,+]+)$/.exec(location.hash)?.[1].split(",").map(Number);
  if (numbers?.length !== 4 || !numbers.every(Number.isFinite) || !Number.isInteger(numbers[0])) return null;
  const [level, time, ...middle] = numbers;
  return { level, t: time, middle };
}

/**
 * Open what the page holds.
 * @param {Record<string, Record<string, string>>} words what is said, by language
 */
export function openPage(words) {
  const { language } = navigator;
  const [kind] = language.split("-");
  const near = Object.keys(words).find((name) => name.split("-")[0] === kind);
  const spoken = [language, kind, near].find((name) => name in words) ?? "en";
  document.documentElement.lang = spoken;
  speak({ ...words.en, ...words[spoken] });
  const stack = JSON.parse(document.getElementById("stack").textContent);
  let written = location.hash;
  let known = "";
  const parent = document.getElementById("zoom");
  parent.className = "zs-wide";
  const viewer = new Viewer(parent, {
    onRest: (place) => {
      // Only where the view has moved, and over no address that has just come and is about to be opened.
      if (place === known || location.hash !== written) return;
      known = place;
      written = `#at=${place}`;
      history.replaceState(null, "", written);
    },
  });
  viewer.show(stack, async (level) => levelBlob(level));
  const restore = () => {
    const place = placeInAddress();
    if (place && viewer.geometry.has(place.level)) viewer.stand(place);
    written = location.hash;
    known = viewer.placeText;
  };
  restore();
  addEventListener("hashchange", restore);
  viewer.stage.focus({ preventScroll: true });
}
