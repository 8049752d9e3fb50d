/** The viewer on a page of its own, with the stack inside the page and the view in the page's address. */

import { speak } from "./words.mjs";
import { Viewer } from "./viewer.mjs";

/** A level, which stands in the page as base64. */
async function read(level) {
  const letters = atob(document.getElementById(`level-${level}`).textContent);
  const bytes = new Uint8Array(letters.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = letters.charCodeAt(i);
  return new Blob([bytes], { type: "image/webp" });
}

/** "#at=3,0.5,0.5,0.5": level, t, x, y. */
function placeInAddress() {
  const numbers = /^#at=(-?\d+(?:,[-+.e\d]+){3})$/.exec(location.hash)?.[1].split(",").map(Number);
  if (!numbers?.every(Number.isFinite)) return null;
  const [level, t, ...middle] = numbers;
  return { level, t, middle };
}

/** @param {Record<string, Record<string, string>>} words what the viewer says, by language */
export function openPage(words) {
  const { language } = navigator;
  const [kind] = language.split("-");
  const near = Object.keys(words).find((name) => name.split("-")[0] === kind);
  const spoken = [language, kind, near, "en"].find((name) => name in words);
  document.documentElement.lang = spoken;
  speak({ ...words.en, ...words[spoken] });
  let written, known;
  const viewer = new Viewer(document.getElementById("zoom"), {
    onRest: (place) => {
      // Only where the view has moved, and over no address that has just come and is about to be opened.
      if (place === known || location.hash !== written) return;
      known = place;
      written = `#at=${place}`;
      history.replaceState(null, "", written);
    },
  });
  viewer.show(JSON.parse(document.getElementById("stack").textContent), read);
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
