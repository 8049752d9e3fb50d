/**
 * Wheel, trackpad, mouse, touch and keyboard on the picture.
 *
 * @import { Flight } from "./flight.mjs"
 * @import { Viewer } from "./viewer.mjs"
 */

import { quiet } from "./dom.mjs";
import { both } from "./geometry.mjs";

const WHEEL = 0.0025; // natural logarithm of magnification a pixel of wheel
const PINCH = 4; // a trackpad's pinch comes as a wheel with small steps and the control key
const UNITS = [1, 16, 320]; // pixels of a wheel's modes: pixels, lines, pages
const KEY_PAN = 0.12; // of the viewport
const KEY_ZOOM = 0.35;
const HISTORY = 80; // ms of a drag that tell its speed

/** @param {Viewer} viewer */
export function attachControls(viewer) {
  const { stage, root } = viewer;
  const pointers = new Map();
  let track = [];

  /** Where an event lies in the viewport, from -0.5 to 0.5. */
  const at = (event) => {
    const box = stage.getBoundingClientRect();
    return [(event.clientX - box.left) / box.width - 0.5, (event.clientY - box.top) / box.height - 0.5];
  };

  /** The middle of one finger or two, and how far the two are apart. */
  const spread = () => {
    const [a, b = a] = pointers.values();
    const apart = Math.hypot((a[0] - b[0]) * stage.clientWidth, (a[1] - b[1]) * stage.clientHeight);
    return { middle: both((i) => 0.5 * (a[i] + b[i])), apart };
  };

  stage.addEventListener("wheel", (event) => {
    if (!viewer.takesWheel()) return viewer.passOn(event);
    event.preventDefault();
    event.stopPropagation();
    const pixels = event.deltaY * UNITS[event.deltaMode];
    viewer.flight.wheel(-pixels * WHEEL * (event.ctrlKey ? PINCH : 1), at(event));
    viewer.changed();
  });

  stage.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return viewer.passOn(event);
    event.stopPropagation();
    stage.focus({ preventScroll: true });
    stage.setPointerCapture(event.pointerId);
    pointers.set(event.pointerId, at(event));
    track = [];
    viewer.flight.play(0);
    viewer.changed();
  });
  quiet(stage, "mousedown", "dblclick", "contextmenu");

  stage.addEventListener("pointermove", (event) => {
    if (!pointers.has(event.pointerId)) return;
    event.stopPropagation();
    const old = spread();
    pointers.set(event.pointerId, at(event));
    const { middle, apart } = spread();
    viewer.flight.pan(both((i) => middle[i] - old.middle[i]));
    if (old.apart > 1 && apart > 1) viewer.flight.magnify(Math.log(apart / old.apart), middle);
    track.push({ time: event.timeStamp, middle });
    viewer.changed();
  });

  const end = (event) => {
    if (!pointers.delete(event.pointerId)) return;
    event.stopPropagation();
    const recent = track.filter(({ time }) => event.timeStamp - time < HISTORY);
    if (!pointers.size && event.type === "pointerup" && recent.length > 1) {
      const [first, last] = [recent[0], recent.at(-1)];
      const seconds = Math.max(last.time - first.time, 8) / 1000;
      viewer.flight.release(both((i) => (last.middle[i] - first.middle[i]) / seconds));
    }
    track = [];
    viewer.changed();
  };
  stage.addEventListener("pointerup", end);
  stage.addEventListener("pointercancel", end);
  stage.addEventListener("dblclick", (event) => press(event.shiftKey ? "pageup" : "pagedown", viewer));

  // A button has keys of its own.
  root.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || /** @type {Element} */ (event.target).closest("button")) return;
    const key = event.key.toLowerCase();
    if (!(key in KEYS)) return;
    event.preventDefault();
    event.stopPropagation();
    press(key, viewer);
  });
}

/** Do what a key or a button stands for. @param {string} key @param {Viewer} viewer */
export function press(key, viewer) {
  KEYS[key](viewer.flight, viewer);
  viewer.changed();
}

/** @type {Record<string, (flight: Flight, viewer: Viewer) => void>} */
const KEYS = {
  arrowleft: (flight) => flight.pan([KEY_PAN, 0]),
  arrowright: (flight) => flight.pan([-KEY_PAN, 0]),
  arrowup: (flight) => flight.pan([0, KEY_PAN]),
  arrowdown: (flight) => flight.pan([0, -KEY_PAN]),
  "+": (flight) => flight.wheel(KEY_ZOOM),
  "-": (flight) => flight.wheel(-KEY_ZOOM),
  home: (flight) => flight.flyTo(flight.lap),
  end: (flight) => flight.flyTo(flight.lap + flight.last, 1.6),
  pagedown: (flight) => flight.flyBy(1),
  pageup: (flight) => flight.flyBy(-1),
  " ": (flight) => flight.toggle(),
  f: (_, viewer) => viewer.fullScreen(),
};
KEYS["="] = KEYS["+"];
KEYS._ = KEYS["-"];
KEYS[0] = KEYS.home;
