// Shows on the nodes of this pack what they report (the text that also stands in /history), and a view of the work
// while it runs.
import { app } from "../../../scripts/app.js";
import { api } from "../../../scripts/api.js";

const LIVE_PREVIEW = "backplate.preview";
const PROGRESS_TEXT = "$$node-text-preview"; // the line that the front end draws under a node that runs
const MOST_LINES = 14;
const BOX = "overflow:auto;user-select:text;padding:6px;border-radius:4px;color:var(--input-text,#ddd);" +
  "background:var(--comfy-input-bg,#222)";
const VIEW = "display:block;width:100%;height:100%;object-fit:contain;border-radius:4px";

function addWidget(node, name, element, getMinHeight) {
  const options = { serialize: false, getMinHeight };
  const widget = node.addDOMWidget(name, "BACKPLATE", element, options);
  widget.serialize = false;
  return widget;
}

function removeWidget(node, widget) {
  const at = node.widgets?.indexOf(widget) ?? -1;
  if (at < 0) return;
  widget.onRemove?.();
  node.widgets.splice(at, 1);
}

// Longer nodes than before, never wider ones; their neighbours have been given room for that.
function grow(node) {
  const needed = node.computeSize()[1];
  if (needed > node.size[1]) node.setSize([node.size[0], needed]);
  node.graph?.setDirtyCanvas(true, true);
}

// A table keeps its columns and scrolls; sentences are wrapped, and the first one is the verdict.
function paragraph(text, index) {
  const table = text.includes("\n---");
  const element = document.createElement("pre");
  element.style.cssText = table ? "font:11px/15px monospace;white-space:pre;overflow-x:auto;overflow-y:hidden"
    : "font:12px/16px sans-serif;white-space:pre-wrap;overflow-wrap:anywhere";
  element.style.margin = "0 0 8px 0";
  if (index === 0) element.style.fontWeight = "600";
  element.textContent = text;
  return element;
}

function showText(node, text) {
  if (!node.backplateText) {
    const box = document.createElement("div");
    box.style.cssText = BOX;
    box.addEventListener("wheel", (event) => event.stopPropagation());
    // About 46 letters in a line of a node of the usual width.
    const lines = () => box.textContent.length / 46 + box.childElementCount + (box.dataset.lines | 0);
    addWidget(node, "report", box, () => 20 + 16 * Math.min(Math.ceil(lines()), MOST_LINES));
    node.backplateText = box;
  }
  node.backplateText.dataset.lines = text.split("\n").length - 1;
  node.backplateText.replaceChildren(...text.split("\n\n").map(paragraph));
}

function endOfRun(node) {
  if (node.backplateLive) removeWidget(node, node.backplateLive);
  node.backplateLive = undefined;
}

function findNode(executionId) {
  return String(executionId).split(":").reduce((graph, id, index, ids) => {
    const node = graph?.getNodeById?.(Number(id)) ?? graph?.getNodeById?.(id);
    return index < ids.length - 1 ? node?.subgraph : node;
  }, app.rootGraph ?? app.graph);
}

function showLive({ detail }) {
  const node = findNode(detail.node);
  if (!node) return;
  if (!node.backplateLive) {
    const view = document.createElement("img");
    view.style.cssText = VIEW;
    node.backplateLive = addWidget(node, "live", view, () => 200);
    grow(node);
  }
  node.backplateLive.element.src = detail.image;
}

app.registerExtension({
  name: "Backplate.Text",
  setup() {
    api.addEventListener(LIVE_PREVIEW, showLive);
    for (const ending of ["execution_error", "execution_interrupted"]) {
      api.addEventListener(ending, ({ detail }) => {
        const node = findNode(detail.node_id);
        if (node) endOfRun(node);
      });
    }
  },
  nodeCreated(node) {
    if (!node.comfyClass?.startsWith("Backplate")) return;
    const before = node.onExecuted;
    node.onExecuted = function (output) {
      before?.apply(this, arguments);
      endOfRun(this);
      if (!output?.text) return;
      const progress = this.widgets?.find((widget) => widget.name === PROGRESS_TEXT);
      if (progress) removeWidget(this, progress);
      showText(this, [output.text].flat().join("\n"));
      grow(this);
    };
  },
});
