/** Wheel, trackpad, mouse, touch and keyboard on the picture. */

import { quiet } from "./dom.mjs";

/** @typedef {import("./viewer.mjs").Viewer} Viewer */

const WHEEL = 0.0025; // natural logarithm of magnification a pixel of wheel
const PINCH = 4; // a trackpad's pinch comes as a wheel with small steps and the control key
const LINE = 16;
const KEY_PAN = 0.12; // of the viewport
const KEY_ZOOM = 0.35;
const HISTORY = 80; // ms of a drag that tell its speed

/**
 * On the picture; keys are heard on all that is not a button.
 * @param {Viewer} viewer
 */
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
    return { middle: [0.5 * (a[0] + b[0]), 0.5 * (a[1] + b[1])], apart };
  };

  stage.addEventListener("wheel", (event) => {
    if (!viewer.takesWheel()) return viewer.passOn(event);
    event.preventDefault();
    event.stopPropagation();
    const unit = event.deltaMode === 1 ? LINE : event.deltaMode === 2 ? 20 * LINE : 1;
    viewer.flight.wheel(-event.deltaY * unit * WHEEL * (event.ctrlKey ? PINCH : 1), ...at(event));
    viewer.changed();
  }, { passive: false });

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
    const now = spread();
    const [u, v] = now.middle;
    viewer.flight.pan(u - old.middle[0], v - old.middle[1]);
    if (old.apart > 1 && now.apart > 1) viewer.flight.magnify(Math.log(now.apart / old.apart), u, v);
    track.push([event.timeStamp, u, v]);
    viewer.changed();
  });

  const end = (event) => {
    if (!pointers.delete(event.pointerId)) return;
    event.stopPropagation();
    const recent = track.filter(([time]) => event.timeStamp - time < HISTORY);
    if (!pointers.size && event.type === "pointerup" && recent.length > 1) {
      const [first, last] = [recent[0], recent.at(-1)];
      const seconds = Math.max(last[0] - first[0], 8) / 1000;
      viewer.flight.release((last[1] - first[1]) / seconds, (last[2] - first[2]) / seconds);
    }
    track = [];
    viewer.changed();
  };
  stage.addEventListener("pointerup", end);
  stage.addEventListener("pointercancel", end);

  stage.addEventListener("dblclick", (event) => {
    viewer.flight.flyBy(event.shiftKey ? -1 : 1);
    viewer.changed();
  });

  root.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || /** @type {Element} */ (event.target).closest("button")) return;
    const action = KEYS[event.key.toLowerCase()];
    if (!action) return;
    event.preventDefault();
    event.stopPropagation();
    action(viewer.flight, viewer);
    viewer.changed();
  });
}

/** @type {Record<string, (flight: import("./flight.mjs").Flight, viewer: Viewer) => void>} */
const KEYS = {
  arrowleft: (flight) => flight.pan(KEY_PAN, 0),
  arrowright: (flight) => flight.pan(-KEY_PAN, 0),
  arrowup: (flight) => flight.pan(0, KEY_PAN),
  arrowdown: (flight) => flight.pan(0, -KEY_PAN),
  "+": (flight) => flight.wheel(KEY_ZOOM, 0, 0),
  "-": (flight) => flight.wheel(-KEY_ZOOM, 0, 0),
  home: (flight) => flight.flyTo(flight.lap),
  end: (flight) => flight.flyTo(flight.lap + flight.last, 1.6),
  pagedown: (flight) => flight.flyBy(1),
  pageup: (flight) => flight.flyBy(-1),
  " ": (_, viewer) => viewer.toggle(),
  f: (_, viewer) => viewer.fullScreen(),
};
KEYS["="] = KEYS["+"];
KEYS._ = KEYS["-"];
KEYS[0] = KEYS.home;
