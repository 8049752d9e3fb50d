/**
 * Wheel, trackpad, mouse, touch and keyboard on the picture.
 *
 * @typedef {{
 *     takesWheel: (event: WheelEvent) => boolean,
 *     passOn: (event: Event) => void,
 *     onChange: () => void,
 *     toggle: () => void,
 *     fullScreen: () => void,
 * }} Host  what stands around the picture: whether a wheel event is meant for it, and where others go
 */

const WHEEL = 0.0025; // natural logarithm of magnification a pixel of wheel
const PINCH = 4; // a trackpad's pinch comes as a wheel with small steps and the control key
const LINE = 16;
const KEY_PAN = 0.12; // of the viewport
const KEY_ZOOM = 0.35;
const HISTORY = 80; // ms of a drag that tell its speed

/**
 * @param {HTMLElement} stage
 * @param {() => import("./flight.mjs").Flight} current  gives the flight of the stack that is shown
 * @param {Host} host
 */
export function attachControls(stage, current, host) {
  const pointers = new Map();
  let track = [];

  /** Where an event lies in the viewport, from -0.5 to 0.5. */
  const at = (event) => {
    const box = stage.getBoundingClientRect();
    return [(event.clientX - box.left) / box.width - 0.5, (event.clientY - box.top) / box.height - 0.5];
  };

  const spread = () => {
    const [a, b] = [...pointers.values()];
    const box = stage.getBoundingClientRect();
    const middle = [0.5 * (a[0] + b[0]), 0.5 * (a[1] + b[1])];
    return { middle, distance: Math.hypot((a[0] - b[0]) * box.width, (a[1] - b[1]) * box.height) };
  };

  stage.addEventListener("wheel", (event) => {
    if (!host.takesWheel(event)) return host.passOn(event);
    event.preventDefault();
    event.stopPropagation();
    const unit = event.deltaMode === 1 ? LINE : event.deltaMode === 2 ? 20 * LINE : 1;
    current().wheel(-event.deltaY * unit * WHEEL * (event.ctrlKey ? PINCH : 1), ...at(event));
    host.onChange();
  }, { passive: false });

  stage.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return host.passOn(event);
    event.stopPropagation();
    stage.focus({ preventScroll: true });
    stage.setPointerCapture(event.pointerId);
    pointers.set(event.pointerId, at(event));
    track = [];
    current().play(0);
    host.onChange();
  });
  for (const name of ["mousedown", "dblclick", "contextmenu"]) {
    stage.addEventListener(name, (event) => event.stopPropagation());
  }

  stage.addEventListener("pointermove", (event) => {
    if (!pointers.has(event.pointerId)) return;
    event.stopPropagation();
    const before = pointers.get(event.pointerId);
    if (pointers.size === 2) {
      const old = spread();
      pointers.set(event.pointerId, at(event));
      const now = spread();
      current().pan(now.middle[0] - old.middle[0], now.middle[1] - old.middle[1]);
      if (old.distance > 1 && now.distance > 1) {
        current().magnify(Math.log(now.distance / old.distance), ...now.middle);
      }
    } else if (pointers.size === 1) {
      const now = at(event);
      pointers.set(event.pointerId, now);
      current().pan(now[0] - before[0], now[1] - before[1]);
      track.push([event.timeStamp, ...now]);
    }
    host.onChange();
  });

  const end = (event) => {
    if (!pointers.delete(event.pointerId)) return;
    event.stopPropagation();
    const recent = track.filter(([time]) => event.timeStamp - time < HISTORY);
    if (!pointers.size && event.type === "pointerup" && recent.length > 1) {
      const [first, last] = [recent[0], recent.at(-1)];
      const seconds = Math.max(last[0] - first[0], 8) / 1000;
      current().release((last[1] - first[1]) / seconds, (last[2] - first[2]) / seconds);
    }
    track = [];
    host.onChange();
  };
  stage.addEventListener("pointerup", end);
  stage.addEventListener("pointercancel", end);

  stage.addEventListener("dblclick", (event) => {
    // Down to the next level; with shift back to the one before.
    current().flyTo(next(current(), event.shiftKey ? -1 : 1));
    host.onChange();
  });

  stage.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const action = keys(current(), host)[event.key];
    if (!action) return;
    event.preventDefault();
    event.stopPropagation();
    action();
    host.onChange();
  });
}

/** The next whole level in a direction. */
function next(flight, direction) {
  const { zoom, last, geometry } = flight;
  const target = direction > 0 ? Math.floor(zoom + 0.02) + 1 : Math.ceil(zoom - 0.02) - 1;
  return geometry.closed ? target : Math.min(Math.max(target, 0), last);
}

/** What each key does, by its name. */
function keys(flight, host) {
  const lap = flight.geometry.closed ? Math.floor(flight.zoom / flight.geometry.levels) * flight.geometry.levels : 0;
  const zoomIn = () => flight.wheel(KEY_ZOOM, 0, 0);
  const zoomOut = () => flight.wheel(-KEY_ZOOM, 0, 0);
  const home = () => flight.flyTo(lap);
  return {
    ArrowLeft: () => flight.pan(KEY_PAN, 0),
    ArrowRight: () => flight.pan(-KEY_PAN, 0),
    ArrowUp: () => flight.pan(0, KEY_PAN),
    ArrowDown: () => flight.pan(0, -KEY_PAN),
    "+": zoomIn,
    "=": zoomIn,
    "-": zoomOut,
    _: zoomOut,
    0: home,
    Home: home,
    End: () => flight.flyTo(lap + flight.last, 1.6),
    PageDown: () => flight.flyTo(next(flight, 1)),
    PageUp: () => flight.flyTo(next(flight, -1)),
    " ": host.toggle,
    f: host.fullScreen,
    F: host.fullScreen,
  };
}
