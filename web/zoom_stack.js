/** The viewer, links to saved pages and the level editor on their nodes: all contact with ComfyUI's frontend. */

import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";
import { LevelEditor } from "./editor/editor.mjs";
import { speak as speakEditor } from "./editor/words.mjs";
import { el } from "./viewer/dom.mjs";
import { Viewer } from "./viewer/viewer.mjs";
import { speak, t, WORDS } from "./viewer/words.mjs";
import { words } from "./words/languages.mjs";

// What the server sends when a joint sampler starts: how its levels lie.
const SAMPLING = "zoom_stack.sampling";
// Where the server reads prompts that the editor does not.
const READ = "/zoom-stack/prompts";
// Asks to put a level somewhere: detail is {node: a node of the graph, level, zoom, center}.
const PLACE = "zoom-stack-place";
// Where a node keeps the description of what it showed last, so that a saved workflow opens with it, and whether a
// prompt list is edited as text.
const SHOWN = "zoom_stack";
const MODE = "prompts as text";
// Sizes in the graph's units.
const VIEWER = { least: 300, width: 460, height: 560 };
const EDITOR = { bar: 36, row: 40, most: 520, open: 420, margin: 6 };

/** Calls `after` once a method or callback of the frontend is through. */
function chain(object, name, after) {
  const before = object[name];
  object[name] = function chained(...given) {
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
  const parts = id.split(":");
  const last = parts.at(-1);
  const root = app.rootGraph ?? app.graph;
  const graph = parts.length > 1 ? root?.subgraphs?.get(parts.at(-2)) : root;
  return graph?.getNodeById(Number(last)) ?? graph?.getNodeById(last);
}

const address = ({ filename, subfolder = "", type = "temp" }) => `/view?${new URLSearchParams({ filename, subfolder, type })}`;

async function fetched(file) {
  const response = await api.fetchApi(address(file));
  if (!response.ok) throw new Error(`${file.filename}: ${response.status}`);
  return response;
}

function addWidget(node, name, element, options) {
  const type = `ZOOM_STACK_${name.toUpperCase()}`;
  const all = { serialize: false, hideInPanel: true, hideOnZoom: false, ...options };
  node.addDOMWidget(name, type, element, all).serialize = false;
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
  constructor(node) {
    this.node = node;
    this.asked = 0;
    this.previewed = false;
    this.ended = new WeakSet();
    const element = el("div");
    element.style.cssText = `width: 100%; height: 100%; min-height: ${VIEWER.least}px;`;
    this.viewer = new Viewer(element, {
      takesWheel: () => element.contains(document.activeElement),
      passOn,
      placer: () => placer(node),
    });
    addWidget(node, "viewer", element, { getMinHeight: () => VIEWER.least });
    grow(node, VIEWER.width, VIEWER.height);
  }

  /**
   * Show what the node gave out, unless that is what is shown already.
   * @param {any} output @param {boolean} executed just now, and not only told again
   */
  async show(output, executed = false) {
    const file = output?.zoom_stack?.[0];
    if (!file || (file.subfolder === this.shown && !(executed && this.previewed))) return;
    // A preview may still be cut up when its run is over.
    for (const stack of sampling.values()) this.ended.add(stack);
    this.previewed = false;
    this.shown = file.subfolder;
    this.node.properties[SHOWN] = file;
    const asked = ++this.asked;
    try {
      const stack = await (await fetched(file)).json();
      if (asked !== this.asked) return;
      const read = async (level) => (await fetched({ ...file, filename: stack.levels[level].file })).blob();
      this.viewer.show(stack, read, { keep: true });
    } catch {
      if (asked === this.asked) this.viewer.clear(t("gone"));
    }
  }

  /** Show what the sampler before this node has so far. */
  preview(stack, pictures) {
    if (this.ended.has(stack)) return;
    this.asked++;
    this.previewed = true;
    this.viewer.preview(stack, pictures);
  }

  close() {
    this.asked++;
    this.viewer.close();
  }
}

/** A link to a saved page, on the node that saved it. */
class PageLink {
  constructor(node) {
    this.node = node;
    this.link = el("a", { target: "_blank", rel: "noopener" });
    this.link.style.cssText = "color: #f2c879; font: 13px/1.4 Inter, system-ui, sans-serif; overflow-wrap: anywhere;";
    const element = el("div", {}, this.link);
    element.style.cssText = "display: flex; align-items: center; padding: 2px 4px; min-height: 28px;";
    addWidget(node, "page", element, { getMinHeight: () => 32 });
  }

  show(output) {
    const file = output?.zoom_page?.[0];
    if (!file) return;
    this.node.properties[SHOWN] = file;
    Object.assign(this.link, { href: api.apiURL(address(file)), download: file.filename });
    this.link.textContent = t("page", { file: file.filename });
  }

  close() {}
}

/** The level editor on a prompt list. */
class NodeEditor {
  constructor(node) {
    this.node = node;
    this.text = this.widget("prompts");
    const value = (name, other) => (this.linked(name) ? other : this.widget(name)?.value ?? other);
    this.editor = new LevelEditor({
      resized: () => this.resize(),
      text: () => String(this.text.value ?? ""),
      read: async (text) => (await api.fetchApi(READ, { method: "POST", body: JSON.stringify({ text }) })).json(),
      write: (text) => this.write("prompts", text),
      settings: () => ({
        negative: String(value("negative", "")),
        loop: Boolean(this.widget("loop")?.value),
        count: Number(value("count", 0)),
        zoom: value("zoom", undefined),
      }),
      writeNegative: (text) => this.linked("negative") || this.write("negative", text),
      linked: () => this.linked("prompts"),
      asText: () => Boolean(node.properties[MODE]),
      showText: (on) => {
        node.properties[MODE] = on;
        this.arrange();
      },
      pictures: () => this.pictures(),
      passWheel: passOn,
    });
    addWidget(node, "editor", this.editor.element, {
      margin: EDITOR.margin,
      getMinHeight: () => this.height,
      getMaxHeight: () => (this.textShown ? this.height : undefined),
    });
    for (const name of ["prompts", "negative", "zoom", "loop", "count"]) {
      const widget = this.widget(name);
      if (widget) chain(widget, "callback", () => this.editor.refresh());
    }
    chain(node, "onConnectionsChange", () => queueMicrotask(() => this.show()));
    this.show();
  }

  widget(name) {
    return this.node.widgets.find((widget) => widget.name === name);
  }

  linked(name) {
    const slot = this.node.inputs?.findIndex((input) => input.name === name) ?? -1;
    return slot >= 0 && this.node.isInputConnected(slot);
  }

  write(name, value) {
    const widget = this.widget(name);
    widget.value = value;
    widget.callback?.(value);
  }

  get textShown() {
    return Boolean(this.node.properties[MODE]) || this.linked("prompts");
  }

  /** By the number of rows, never by the element's own size, which follows from this. */
  get height() {
    const { rows, problem, opened } = this.editor;
    if (this.textShown || !rows.length) return EDITOR.bar + (problem.hidden ? 0 : EDITOR.row);
    return Math.max(Math.min(EDITOR.bar + EDITOR.row * rows.length, EDITOR.most), opened ? EDITOR.open : 0);
  }

  /** Show the text or hide it. */
  arrange() {
    const { text } = this;
    const hidden = !this.textShown;
    if (text.hidden === hidden) return;
    text.hidden = text.options.hidden = hidden;
    // The Vue renderer goes by the options in its own store, and looks when the list of widgets changes.
    if (text._state?.options) text._state.options.hidden = hidden;
    this.node.widgets.push(this.node.widgets.pop());
  }

  resize() {
    const wanted = `${this.height - 2 * EDITOR.margin}px`;
    const { style } = this.editor.element;
    if (style.minHeight === wanted) return;
    style.minHeight = wanted;
    grow(this.node, ...this.node.computeSize());
    this.node.setDirtyCanvas?.(true, true);
  }

  /** The levels' pictures that a node downstream has shown last, by the nearest. */
  pictures() {
    const shown = reach(this.node).map(({ id }) => app.nodeOutputs?.[id]?.zoom_levels).find(Boolean) ?? [];
    return shown.map((file) => api.apiURL(address(file)));
  }

  show() {
    this.arrange();
    this.editor.refresh();
  }

  close() {}
}

const KINDS = { ZoomStackViewer: NodeViewer, ZoomStackPage: PageLink, ZoomPromptList: NodeEditor };

/** What stands on a node. @type {Map<object, NodeViewer | PageLink | NodeEditor>} */
const widgets = new Map();

function refreshEditors() {
  for (const widget of widgets.values()) if (widget instanceof NodeEditor) widget.editor.refresh();
}

/** The editor on the nearest prompt list that leads to a node, where that can place levels. */
function placer(node) {
  const found = reach(node, true).map((each) => widgets.get(each)).find((widget) => widget instanceof NodeEditor);
  return found instanceof NodeEditor && found.editor.editable ? found.editor : undefined;
}

/** How the levels of a sampler lie, by the node's id. */
const sampling = new Map();

/** Cut a preview into its levels and show them in the viewers that the sampler feeds. */
async function onPreview({ blob, displayNodeId, nodeId }) {
  const stack = sampling.get(String(nodeId)) ?? sampling.get(String(displayNodeId));
  if (!stack || stack.busy) return;
  const shown = reach(nodeAt(String(displayNodeId ?? nodeId))).map((node) => widgets.get(node));
  const viewers = shown.filter((widget) => widget instanceof NodeViewer);
  if (!viewers.length) return;
  // A preview that comes while the one before it is still cut up is left out.
  stack.busy = true;
  try {
    const whole = await createImageBitmap(blob);
    const rows = Math.ceil(stack.levels.length / stack.columns);
    const [width, height] = [whole.width / stack.columns, whole.height / rows];
    // The core's advanced sampler shows the first level alone at its end.
    if (Math.abs((width * stack.height) / (height * stack.width) - 1) > 0.1) return;
    const pictures = await Promise.all(stack.levels.map((_, i) => createImageBitmap(
      whole,
      Math.round((i % stack.columns) * width),
      Math.round(Math.floor(i / stack.columns) * height),
      Math.max(1, Math.floor(width)),
      Math.max(1, Math.floor(height)),
    )));
    whole.close();
    for (const viewer of viewers) viewer.preview(stack, pictures);
  } finally {
    stack.busy = false;
  }
}

app.registerExtension({
  name: "ZoomStack",
  async setup() {
    api.addEventListener(SAMPLING, ({ detail }) => sampling.set(String(detail.node), detail));
    api.addEventListener("b_preview_with_metadata", ({ detail }) => onPreview(detail));
    api.addEventListener("executed", refreshEditors);
    addEventListener(PLACE, (event) => {
      const { node, level, ...where } = /** @type {CustomEvent} */ (event).detail;
      placer(node)?.place(level, where);
    });
    const language = app.extensionManager?.setting?.get("Comfy.Locale") ?? "en";
    const { viewer, editor } = await words(language);
    if (Object.keys(viewer).length) WORDS[language] = viewer;
    speak(language);
    speakEditor(editor);
  },
  nodeCreated(node) {
    const Widget = KINDS[node.constructor.comfyClass];
    if (!Widget) return;
    const widget = new Widget(node);
    widgets.set(node, widget);
    chain(node, "onExecuted", (output) => widget.show(output, true));
    chain(node, "onConfigure", () => queueMicrotask(() => {
      const file = node.properties?.[SHOWN];
      widget.show({ zoom_stack: file && [file], zoom_page: file && [file] });
    }));
    chain(node, "onRemoved", () => {
      widgets.delete(node);
      widget.close();
    });
  },
  onNodeOutputsUpdated(outputs) {
    for (const [id, output] of Object.entries(outputs)) widgets.get(nodeAt(id))?.show(output);
    refreshEditors();
  },
});
