// The picture before and after on the nodes that say so in what they show: a line that follows the mouse.
import { app } from "../../../scripts/app.js";
import { api } from "../../../scripts/api.js";

const KEY = "backplate_before_after"; // as in nodes/before_after.py
const HEIGHT = 240;
const LABEL = "position:absolute;top:4px;padding:1px 6px;border-radius:4px;font:11px sans-serif;color:#fff;" +
  "background:rgba(0,0,0,.55);pointer-events:none";

function address(file) {
  return api.apiURL(`/view?${new URLSearchParams(file)}`);
}

function add(parent, kind, style, text = "") {
  const element = document.createElement(kind);
  element.style.cssText = style;
  element.textContent = text;
  parent.append(element);
  return element;
}

function makeView() {
  const box = document.createElement("div");
  box.style.cssText = `position:relative;min-height:${HEIGHT}px;overflow:hidden;border-radius:4px;cursor:ew-resize;` +
    "touch-action:none";
  const picture = "position:absolute;inset:0;width:100%;height:100%;object-fit:contain;user-select:none";
  const before = add(box, "img", picture), after = add(box, "img", picture);
  const line = add(box, "div", "position:absolute;top:0;bottom:0;width:2px;margin-left:-1px;background:#fff");
  add(box, "span", `${LABEL};left:4px`, "before");
  add(box, "span", `${LABEL};right:4px`, "after");
  const divide = (share) => {
    after.style.clipPath = `inset(0 0 0 ${100 * share}%)`;
    line.style.left = `${100 * share}%`;
  };
  box.addEventListener("pointermove", (event) => {
    const { left, width } = box.getBoundingClientRect();
    divide(Math.min(Math.max((event.clientX - left) / width, 0), 1));
  });
  for (const image of [before, after]) image.draggable = false;
  divide(0.5);
  return { box, show: (files) => { [before.src, after.src] = files.map(address); } };
}

function show(node, files) {
  if (!node.backplateView) {
    node.backplateView = makeView();
    const options = { serialize: false, getMinHeight: () => HEIGHT };
    const widget = node.addDOMWidget("before_after", "BACKPLATE", node.backplateView.box, options);
    widget.serialize = false;
  }
  node.backplateView.show(files);
  const needed = node.computeSize()[1];
  if (needed > node.size[1]) node.setSize([node.size[0], needed]);
  node.graph?.setDirtyCanvas(true, true);
}

app.registerExtension({
  name: "Backplate.BeforeAfter",
  nodeCreated(node) {
    if (!node.comfyClass?.startsWith("Backplate")) return;
    const earlier = node.onExecuted;
    node.onExecuted = function (output) {
      earlier?.apply(this, arguments);
      if (output?.[KEY]?.length === 2) show(this, output[KEY]);
    };
  },
});
