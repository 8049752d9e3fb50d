/** The viewer on a page of its own, with the stack inside the page and the view in the page's address. */

import { speak } from "./words.mjs";
import { Viewer } from "./viewer.mjs";

/** The bytes of a level, which stand in the page as base64. */
function levelBlob(level) {
  const text = document.getElementById(`level-${level}`).textContent.trim();
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  return new Blob([bytes], { type: "image/webp" });
}

/** "#at=3,0.5,0.5,0.5": level, t, x, y. @returns {import("./geometry.mjs").Place | null} */
function placeInAddress() {
  const numbers = /^#at=([-\d.e,+]+)$/.exec(location.hash)?.[1].split(",").map(Number);
  if (numbers?.length !== 4 || !numbers.every(Number.isFinite) || !Number.isInteger(numbers[0])) return null;
  const [level, time, x, y] = numbers;
  return { level, t: time, x, y };
}

/** Open what the page holds. */
export function openPage() {
  document.documentElement.lang = speak(navigator.language);
  const stack = JSON.parse(document.getElementById("stack").textContent);
  let written = "";
  const viewer = new Viewer(document.getElementById("zoom"), {
    onRest: (place) => {
      // Only where the view has moved: an address that was just typed is not overwritten.
      if (written === `#at=${place}`) return;
      written = `#at=${place}`;
      history.replaceState(null, "", written);
    },
  });
  viewer.root.classList.add("zs-wide");
  viewer.show(stack, async (level) => levelBlob(level));
  const restore = () => {
    const place = placeInAddress();
    if (place && viewer.geometry.has(place.level)) viewer.stand(place);
  };
  restore();
  written = `#at=${viewer.placeText}`;
  addEventListener("hashchange", () => {
    if (location.hash !== written) restore();
  });
  viewer.stage.focus({ preventScroll: true });
}
