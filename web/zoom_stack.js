/** The viewer on its node, and links to saved pages: all contact with ComfyUI's frontend. */

import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";
import { Viewer } from "./viewer/viewer.mjs";
import { speak, t, WORDS } from "./viewer/words.mjs";
import { words } from "./words/languages.mjs";

const NODE = "ZoomStackViewer";
const PAGE = "ZoomStackPage";
// What the server sends when a joint sampler starts: how its levels lie.
const SAMPLING = "zoom_stack.sampling";
// Asks the level editor to put a level somewhere.
const PLACE = "zoom-stack-place";
// Where a node keeps the description of what it showed last, so that a saved workflow opens with it.
const SHOWN = "zoom_stack";
const LEAST_HEIGHT = 300;
const PAGE_HEIGHT = 32;
const FIRST_SIZE = [460, 560];

/** What stands on a node. @type {WeakMap<object, NodeViewer | PageLink>} */
const widgets = new WeakMap();

const address = ({ filename, subfolder, type }) =>
  `/view?${new URLSearchParams({ filename, subfolder: subfolder ?? "", type: type ?? "temp" })}`;

async function fetched(file) {
  const response = await api.fetchApi(address(file));
  if (!response.ok) throw new Error(`${file.filename}: ${response.status}`);
  return response;
}

class NodeViewer {
  constructor(node) {
    this.node = node;
    this.asked = 0;
    this.previewed = false;
    this.ended = new WeakSet();
    this.element = document.createElement("div");
    this.element.style.cssText = `width: 100%; height: 100%; min-height: ${LEAST_HEIGHT}px;`;
    this.viewer = new Viewer(this.element, {
      takesWheel: () => this.element.contains(document.activeElement),
      passOn: (event) => passOn(event),
      onPlace: (wanted) => dispatchEvent(new CustomEvent(PLACE, { detail: { node, ...wanted } })),
    });
    addWidget(node, "viewer", "ZOOM_STACK_VIEWER", this.element, LEAST_HEIGHT);
    node.setSize([Math.max(node.size[0], FIRST_SIZE[0]), Math.max(node.size[1], FIRST_SIZE[1])]);
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

/** Hand an event to the graph's canvas, as if the viewer were not there. */
function passOn(event) {
  if (event.type === "wheel" && !isVue()) {
    event.preventDefault();
    app.canvas.processMouseWheel(event);
  } else if (event.type === "pointerdown" && event.button === 1 && !isVue()) {
    app.canvas.processMouseDown(event);
  }
}

/** Whether nodes are drawn by the newer renderer, which forwards events by itself. */
const isVue = () => Boolean(globalThis.LiteGraph?.vueNodesMode);

/** A link to a saved page, on the node that saved it. */
class PageLink {
  constructor(node) {
    this.node = node;
    this.element = document.createElement("div");
    this.element.style.cssText = "display: flex; align-items: center; padding: 2px 4px; min-height: 28px;";
    this.link = document.createElement("a");
    this.link.style.cssText = "color: #f2c879; font: 13px/1.4 Inter, system-ui, sans-serif; overflow-wrap: anywhere;";
    this.link.target = "_blank";
    this.link.rel = "noopener";
    this.element.append(this.link);
    addWidget(node, "page", "ZOOM_STACK_PAGE", this.element, PAGE_HEIGHT);
  }

  show(output) {
    const file = output?.zoom_page?.[0];
    if (!file) return;
    this.node.properties[SHOWN] = file;
    this.link.href = api.apiURL(address(file));
    this.link.download = file.filename;
    this.link.textContent = t("page", { file: file.filename });
  }

  close() {}
}

function addWidget(node, name, type, element, height) {
  const options = { serialize: false, hideInPanel: true, hideOnZoom: false, getMinHeight: () => height };
  node.addDOMWidget(name, type, element, options).serialize = false;
}

/** How the levels of a sampler lie, by the node's id. */
const sampling = new Map();

/** Cut a preview into its levels and show them in the viewers that the sampler feeds. */
async function onPreview({ blob, displayNodeId, nodeId }) {
  const stack = sampling.get(String(nodeId)) ?? sampling.get(String(displayNodeId));
  if (!stack || stack.busy) return;
  const shown = viewersAfter(String(displayNodeId ?? nodeId));
  if (!shown.length) return;
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
    for (const viewer of shown) viewer.preview(stack, pictures);
  } finally {
    stack.busy = false;
  }
}

/** The viewers that a node leads to, in its own graph. */
function viewersAfter(id) {
  const graph = graphOf(id);
  const found = [];
  const seen = new Set();
  const waiting = [graph && nodeIn(graph, id)];
  while (waiting.length) {
    const node = waiting.pop();
    if (!node || seen.has(node)) continue;
    seen.add(node);
    const viewer = widgets.get(node);
    if (viewer instanceof NodeViewer) found.push(viewer);
    waiting.push(...(node.outputs ?? []).flatMap((_, slot) => node.getOutputNodes(slot) ?? []));
  }
  return found;
}

app.registerExtension({
  name: "ZoomStack.Viewer",
  async setup() {
    api.addEventListener(SAMPLING, ({ detail }) => sampling.set(String(detail.node), detail));
    api.addEventListener("b_preview_with_metadata", ({ detail }) => onPreview(detail));
    const language = app.extensionManager?.setting?.get("Comfy.Locale") ?? "en";
    const { viewer } = await words(language);
    if (Object.keys(viewer).length) WORDS[language] = viewer;
    speak(language);
  },
  nodeCreated(node) {
    const Widget = { [NODE]: NodeViewer, [PAGE]: PageLink }[node.constructor.comfyClass];
    if (!Widget) return;
    const widget = new Widget(node);
    widgets.set(node, widget);
    const { onExecuted, onRemoved, onConfigure } = node;
    node.onExecuted = function executed(output) {
      onExecuted?.call(this, output);
      widget.show(output, true);
    };
    node.onConfigure = function configured(...given) {
      onConfigure?.apply(this, given);
      const file = this.properties?.[SHOWN];
      if (file) widget.show({ zoom_stack: [file], zoom_page: [file] });
    };
    node.onRemoved = function removed() {
      onRemoved?.call(this);
      widget.close();
    };
  },
  onNodeOutputsUpdated(outputs) {
    for (const [id, output] of Object.entries(outputs)) {
      const graph = graphOf(id);
      widgets.get(graph && nodeIn(graph, id))?.show(output);
    }
  },
});

/** The graph of a node by its locator: "3", or "subgraph:3". */
function graphOf(id) {
  const parts = id.split(":");
  const root = app.rootGraph ?? app.graph;
  return parts.length > 1 ? root?.subgraphs?.get(parts.at(-2)) : root;
}

function nodeIn(graph, id) {
  const last = id.split(":").at(-1);
  return graph.getNodeById(Number(last)) ?? graph.getNodeById(last);
}
