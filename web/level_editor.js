/**
 * The level editor on Zoom Prompt List: everything here that knows ComfyUI's frontend.
 * @module
 */

import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";
import { LevelEditor } from "./editor/editor.mjs";
import { speak } from "./editor/words.mjs";
import { words } from "./words/languages.mjs";

const NODE = "ZoomPromptList";
const READ = "/zoom-stack/prompts";
const MODE = "prompts as text";
const BAR = 36;
const ROW = 40;
const MOST = 520;
const OPEN = 420;
const MARGIN = 6;
/** Asks to put a level somewhere: detail is {node: a node of the graph, level, zoom, center}. */
const PLACE = "zoom-stack-place";
/** @type {Map<any, LevelEditor>} */
const editors = new Map();

/**
 * @param {any} node
 * @param {string} name
 */
function widgetOf(node, name) {
  return node.widgets.find((/** @type {any} */ widget) => widget.name === name);
}

/**
 * @param {any} node
 * @param {string} name
 */
function linked(node, name) {
  const slot = node.inputs?.findIndex((/** @type {any} */ input) => input.name === name) ?? -1;
  return slot >= 0 && node.isInputConnected(slot);
}

/**
 * @param {any} node
 * @param {string} name
 * @param {any} value
 */
function write(node, name, value) {
  const widget = widgetOf(node, name);
  widget.value = value;
  widget.callback?.(value);
}

/**
 * The levels' pictures that a node downstream has shown last, by the nearest.
 * @param {any} start
 */
function pictures(start) {
  const seen = new Set([start]);
  for (const node of seen) {
    const shown = app.nodeOutputs?.[node.id]?.zoom_levels;
    if (shown) {
      return shown.map((/** @type {Record<string, string>} */ file) => api.apiURL(`/view?${new URLSearchParams(file)}`));
    }
    for (const slot of (node.outputs ?? []).keys()) {
      for (const next of node.getOutputNodes(slot) ?? []) seen.add(next);
    }
  }
  return [];
}

/**
 * Place a level on the nearest prompt list upstream of a node.
 * @param {{node: any, level: number, zoom: number, center: [number, number]}} wanted
 */
function place({ node, level, zoom, center }) {
  const seen = new Set([node]);
  for (const each of seen) {
    const editor = editors.get(each);
    if (editor) {
      editor.place(level, { zoom, center });
      return;
    }
    for (const slot of (each.inputs ?? []).keys()) {
      const before = each.getInputNode(slot);
      if (before) seen.add(before);
    }
  }
}

/** @param {any} node */
function attach(node) {
  const text = widgetOf(node, "prompts");
  const asText = () => Boolean(node.properties[MODE]);

  const shown = () => asText() || linked(node, "prompts");
  const arrange = () => {
    if (text.hidden === !shown()) return;
    text.hidden = text.options.hidden = !shown();
    // The Vue renderer goes by the options in its own store, and looks when the list of widgets changes.
    if (text._state?.options) text._state.options.hidden = !shown();
    node.widgets.push(node.widgets.pop());
  };
  const editor = new LevelEditor({
    resized: () => resize(),
    text: () => String(text.value ?? ""),
    read: async (value) => (await api.fetchApi(READ, { method: "POST", body: JSON.stringify({ text: value }) })).json(),
    write: (value) => write(node, "prompts", value),
    settings: () => ({
      negative: linked(node, "negative") ? "" : String(widgetOf(node, "negative").value ?? ""),
      loop: Boolean(widgetOf(node, "loop")?.value),
      count: linked(node, "count") ? 0 : Number(widgetOf(node, "count")?.value ?? 0),
      zoom: linked(node, "zoom") ? undefined : Number(widgetOf(node, "zoom").value),
    }),
    writeNegative: (value) => linked(node, "negative") || write(node, "negative", value),
    linked: () => linked(node, "prompts"),
    asText,
    showText(on) {
      node.properties[MODE] = on;
      arrange();
    },
    pictures: () => pictures(node),
    passWheel(event) {
      event.preventDefault();
      app.canvas.processMouseWheel(event);
    },
  });
  // By the number of rows, never by the element's own size, which follows from this.
  const height = () => {
    if (shown() || !editor.rows.length) return BAR + (editor.problem.hidden ? 0 : ROW);
    return Math.max(Math.min(BAR + ROW * editor.rows.length, MOST), editor.opened ? OPEN : 0);
  };
  const widget = node.addDOMWidget("levels_editor", "zoom_stack_levels", editor.element, {
    serialize: false,
    hideInPanel: true,
    hideOnZoom: false,
    margin: MARGIN,
    getMinHeight: height,
    getMaxHeight: () => (shown() ? height() : undefined),
  });
  widget.serialize = false;
  editors.set(node, editor);

  const resize = () => {
    const wanted = `${height() - 2 * MARGIN}px`;
    if (editor.element.style.minHeight === wanted) return;
    editor.element.style.minHeight = wanted;
    const least = node.computeSize();
    node.setSize([Math.max(node.size[0], least[0]), Math.max(node.size[1], least[1])]);
    node.setDirtyCanvas?.(true, true);
  };
  const refresh = () => {
    arrange();
    editor.refresh();
  };
  for (const name of ["prompts", "negative", "zoom", "loop", "count"]) {
    const widget = widgetOf(node, name);
    if (widget) chain(widget, "callback", () => editor.refresh());
  }
  for (const name of ["onConfigure", "onConnectionsChange"]) chain(node, name, () => queueMicrotask(refresh));
  chain(node, "onRemoved", () => editors.delete(node));
  refresh();
}

/**
 * @param {any} object
 * @param {string} name
 * @param {() => void} after
 */
function chain(object, name, after) {
  const before = object[name];
  object[name] = function (/** @type {any[]} */ ...args) {
    const result = before?.apply(this, args);
    after();
    return result;
  };
}

function refreshAll() {
  for (const editor of editors.values()) editor.refresh();
}

app.registerExtension({
  name: "ZoomStack.LevelEditor",
  async setup() {
    speak((await words(app.extensionManager.setting.get("Comfy.Locale") ?? "en")).editor);
    api.addEventListener("executed", refreshAll);
    window.addEventListener(PLACE, (event) => place(/** @type {CustomEvent} */ (event).detail));
  },
  nodeCreated(/** @type {any} */ node) {
    if (node.constructor.comfyClass === NODE) attach(node);
  },
  onNodeOutputsUpdated() {
    refreshAll();
  },
});
