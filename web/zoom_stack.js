/** The viewer, links to saved pages and the level editor on their nodes: all contact with ComfyUI's frontend. */

import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";
import { LevelEditor, MARGIN } from "./editor/editor.mjs";
import { el } from "./viewer/dom.mjs";
import { Viewer } from "./viewer/viewer.mjs";
import { t } from "./viewer/words.mjs";
import { speak } from "./words/languages.mjs";

// Where a node keeps what it showed last, so that a saved workflow opens with it, and whether a prompt list is text.
const SHOWN = "zoom_stack";
const MODE = "prompts as text";
// Sizes of a viewer in the graph's units.
const LEAST = 300;
const [WIDTH, HEIGHT] = [460, 560];

/** Calls `after` once a method or callback of the frontend is through. */
function chain(object, name, after) {
  const before = object[name];
  object[name] = function (...given) {
    const result = before?.apply(this, given);
    after(...given);
    return result;
  };
}

/** A node and all that it leads to, nearest first; or, the other way, all that lead to it. */
function reach(start, upstream = false) {
  const seen = new Set(start && [start]);
  for (const node of seen) {
    const next = upstream
      ? (node.inputs ?? []).map((_, slot) => node.getInputNode(slot))
      : (node.outputs ?? []).flatMap((_, slot) => node.getOutputNodes(slot) ?? []);
    for (const other of next) if (other) seen.add(other);
  }
  return [...seen];
}

/** A node by its locator: "3", or "subgraph:3". */
function nodeAt(id) {
  const [node, subgraph] = String(id).split(":").reverse();
  const graph = subgraph ? app.rootGraph.subgraphs.get(subgraph) : app.rootGraph;
  return graph?.getNodeById(node);
}

const address = ({ filename, subfolder = "", type = "temp" }) => `/view?${new URLSearchParams({ filename, subfolder, type })}`;

async function fetched(file) {
  const response = await api.fetchApi(address(file));
  if (!response.ok) throw new Error(file.filename);
  return response;
}

function addWidget(node, name, element, options) {
  const all = { serialize: false, hideInPanel: true, hideOnZoom: false, ...options };
  node.addDOMWidget(name, `ZOOM_STACK_${name.toUpperCase()}`, element, all).serialize = false;
}

function grow(node, width, height) {
  node.setSize([Math.max(node.size[0], width), Math.max(node.size[1], height)]);
}

/** Hand an event to the graph's canvas, as if nothing lay over it; the newer renderer does so by itself. */
function passOn(event) {
  if (globalThis.LiteGraph?.vueNodesMode) return;
  if (event.type === "wheel") {
    event.preventDefault();
    app.canvas.processMouseWheel(event);
  } else if (event.button === 1) {
    app.canvas.processMouseDown(event);
  }
}

class NodeViewer {
  /** Counts what was asked for: what comes later than something newer is left out. */
  asked = 0;

  constructor(node) {
    const element = el("div", { style: `width: 100%; height: 100%; min-height: ${LEAST}px;` });
    this.viewer = new Viewer(element, { passOn, placer: () => placer(node) });
    addWidget(node, "viewer", element, { getMinHeight: () => LEAST });
    grow(node, WIDTH, HEIGHT);
    chain(node, "onRemoved", () => {
      this.asked++;
      this.viewer.close();
    });
  }

  /** Show a stack, unless that is what is shown already. @param {any} file @param {boolean} [executed] just now */
  async show(file, executed) {
    if (file.subfolder === this.shown && !(executed && this.previewed)) return;
    this.previewed = false;
    this.shown = file.subfolder;
    const asked = ++this.asked;
    try {
      const stack = await (await fetched(file)).json();
      if (asked !== this.asked) return;
      this.viewer.show(stack, async (level) => (await fetched({ ...file, filename: stack.levels[level].file })).blob());
    } catch {
      if (asked === this.asked) this.viewer.clear(t("gone"));
    }
  }

  preview(stack, read) {
    this.asked++;
    this.previewed = true;
    this.viewer.preview(stack, read);
  }
}

/** A link to a saved page, on the node that saved it. */
function pageLink(node) {
  const style = "color: #f2c879; font: 13px/1.4 Inter, system-ui, sans-serif; overflow-wrap: anywhere;";
  const link = el("a", { target: "_blank", rel: "noopener", style });
  const element = el("div", { style: "display: flex; align-items: center; padding: 2px 4px; min-height: 28px;" }, link);
  addWidget(node, "page", element, { getMinHeight: () => 32 });
  return {
    show(file) {
      const textContent = t("page", { file: file.filename });
      Object.assign(link, { href: api.apiURL(address(file)), download: file.filename, textContent });
    },
  };
}

/** The level editor on a prompt list. */
function levelEditor(node) {
  const find = (name) => node.widgets.find((widget) => widget.name === name);
  const editor = new LevelEditor({
    value: (name) => find(name)?.value,
    write: (name, value) => {
      const widget = find(name);
      widget.value = value;
      widget.callback?.(value);
    },
    linked: (name) => node.inputs.some((input) => input.name === name && input.link != null),
    read: async (text) => (await api.fetchApi("/zoom-stack/prompts", { method: "POST", body: JSON.stringify({ text }) })).json(),
    asText: () => Boolean(node.properties[MODE]),
    showText: (on) => (node.properties[MODE] = on),
    // What a node downstream has shown last, the nearest one.
    pictures: () => {
      const shown = reach(node).map(({ id }) => app.nodeOutputs?.[id]?.zoom_levels).find(Boolean) ?? [];
      return shown.map((file) => api.apiURL(address(file)));
    },
    passWheel: passOn,
    hideText: (hidden) => {
      const text = find("prompts");
      if (text.hidden === hidden) return;
      text.hidden = text.options.hidden = hidden;
      // The Vue renderer goes by the options in its own store, and looks when the list of widgets changes.
      if (text._state?.options) text._state.options.hidden = hidden;
      node.widgets.push(node.widgets.pop());
    },
    resized: () => {
      grow(node, ...node.computeSize());
      node.setDirtyCanvas(true, true);
    },
  });
  for (const widget of node.widgets) chain(widget, "callback", () => editor.refresh());
  addWidget(node, "editor", editor.element, {
    margin: MARGIN,
    getMinHeight: () => editor.height,
    getMaxHeight: () => (editor.textShown ? editor.height : undefined),
  });
  for (const name of ["onConfigure", "onConnectionsChange"]) chain(node, name, () => queueMicrotask(() => editor.refresh()));
  editor.refresh();
  return editor;
}

const KINDS = { ZoomStackViewer: (node) => new NodeViewer(node), ZoomStackPage: pageLink, ZoomPromptList: levelEditor };

/** What stands on a node. @type {Map<object, any>} */
const widgets = new Map();

/** What of one kind stands on nodes. @template T @param {object[]} nodes @param {new (given: any) => T} Kind @returns {T[]} */
const among = (nodes, Kind) => nodes.map((node) => widgets.get(node)).filter((widget) => widget instanceof Kind);

/** Tell what stands on a node what the node gave out. */
function tell(node, output, executed) {
  const widget = widgets.get(node);
  const [file] = output?.zoom_stack ?? output?.zoom_page ?? [];
  if (!widget || !file) return;
  node.properties[SHOWN] = file;
  widget.show(file, executed);
}

function refreshEditors() {
  for (const widget of widgets.values()) widget.refresh?.();
}

/** The editor on the nearest prompt list that leads to a node, where that can place levels. */
function placer(node) {
  const [editor] = among(reach(node, true), LevelEditor);
  return editor?.editable ? editor : undefined;
}

/** How the levels of a joint sampler lie, by the node's id; told when it starts. */
const sampling = new Map();

/** Show a preview, with its levels side by side, in the viewers that the sampler feeds. */
async function onPreview({ blob, displayNodeId, nodeId }) {
  const stack = sampling.get(nodeId);
  if (!stack) return;
  const viewers = among(reach(nodeAt(displayNodeId ?? nodeId)), NodeViewer).map((viewer) => ({ viewer, asked: viewer.asked }));
  if (!viewers.length) return;
  const whole = await createImageBitmap(blob);
  const [width, height] = [whole.width / stack.columns, whole.height / Math.ceil(stack.levels.length / stack.columns)];
  // The core's advanced sampler shows the first level alone at its end.
  if (Math.abs((width * stack.height) / (height * stack.width) - 1) > 0.1) return;
  const read = (level) => createImageBitmap(
    whole,
    Math.round((level % stack.columns) * width),
    Math.round(Math.floor(level / stack.columns) * height),
    Math.max(1, Math.floor(width)),
    Math.max(1, Math.floor(height)),
  );
  // Its run may be over meanwhile.
  for (const { viewer, asked } of viewers) if (viewer.asked === asked) viewer.preview(stack, read);
}

app.registerExtension({
  name: "ZoomStack",
  async setup() {
    api.addEventListener("zoom_stack.sampling", ({ detail }) => sampling.set(detail.node, detail));
    api.addEventListener("b_preview_with_metadata", ({ detail }) => onPreview(detail));
    api.addEventListener("executed", refreshEditors);
    // Another extension wants a level somewhere: `node` is a node of the graph.
    addEventListener("zoom-stack-place", (event) => {
      const { node, level, ...where } = /** @type {CustomEvent} */ (event).detail;
      placer(node)?.place(level, where);
    });
    await speak(app.extensionManager.setting.get("Comfy.Locale"));
  },
  nodeCreated(node) {
    const add = KINDS[node.constructor.comfyClass];
    if (!add) return;
    widgets.set(node, add(node));
    chain(node, "onExecuted", (output) => tell(node, output, true));
    chain(node, "onConfigure", () => queueMicrotask(() => tell(node, { zoom_stack: [node.properties[SHOWN]] })));
    chain(node, "onRemoved", () => widgets.delete(node));
  },
  onNodeOutputsUpdated(outputs) {
    for (const [id, output] of Object.entries(outputs)) tell(nodeAt(id), output);
    refreshEditors();
  },
});
