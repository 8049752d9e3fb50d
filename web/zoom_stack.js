/** The viewer on its node: all contact with ComfyUI's frontend. */

import { api } from "../../scripts/api.js";
import { app } from "../../scripts/app.js";
import { Viewer } from "./viewer/viewer.mjs";
import { speak, t } from "./viewer/words.mjs";

const NODE = "ZoomStackViewer";
// Where a node keeps the description of what it showed last, so that a saved workflow opens with it.
const SHOWN = "zoom_stack";
const LEAST_HEIGHT = 300;
const FIRST_SIZE = [460, 560];

/** @type {WeakMap<object, NodeViewer>} */
const viewers = new WeakMap();

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
    this.element = document.createElement("div");
    this.element.style.cssText = `width: 100%; height: 100%; min-height: ${LEAST_HEIGHT}px;`;
    this.viewer = new Viewer(this.element, {
      takesWheel: () => this.element.contains(document.activeElement),
      passOn: (event) => passOn(event),
    });
    node.addDOMWidget("viewer", "ZOOM_STACK_VIEWER", this.element, {
      serialize: false,
      hideInPanel: true,
      hideOnZoom: false,
      getMinHeight: () => LEAST_HEIGHT,
    }).serialize = false;
  }

  /** Show what the node gave out, unless that is what is shown already. */
  async show(output) {
    const file = output?.zoom_stack?.[0];
    if (!file || file.subfolder === this.shown) return;
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

app.registerExtension({
  name: "ZoomStack.Viewer",
  setup() {
    speak(app.extensionManager?.setting?.get("Comfy.Locale") ?? "en");
  },
  nodeCreated(node) {
    if (node.constructor.comfyClass !== NODE) return;
    const viewer = new NodeViewer(node);
    viewers.set(node, viewer);
    node.setSize([Math.max(node.size[0], FIRST_SIZE[0]), Math.max(node.size[1], FIRST_SIZE[1])]);
    const { onExecuted, onRemoved, onConfigure } = node;
    node.onExecuted = function executed(output) {
      onExecuted?.call(this, output);
      viewer.show(output);
    };
    node.onConfigure = function configured(...given) {
      onConfigure?.apply(this, given);
      const file = this.properties?.[SHOWN];
      if (file) viewer.show({ zoom_stack: [file] });
    };
    node.onRemoved = function removed() {
      onRemoved?.call(this);
      viewer.close();
    };
  },
  onNodeOutputsUpdated(outputs) {
    for (const [id, output] of Object.entries(outputs)) viewerOf(id)?.show(output);
  },
});

/** The viewer of a node by its locator: "3", or "subgraph:3". */
function viewerOf(id) {
  const parts = String(id).split(":");
  const graph = parts.length > 1 ? app.rootGraph?.subgraphs?.get(parts[0]) : (app.rootGraph ?? app.graph);
  const node = graph?.getNodeById?.(Number(parts.at(-1))) ?? graph?.getNodeById?.(parts.at(-1));
  return node ? viewers.get(node) : undefined;
}
