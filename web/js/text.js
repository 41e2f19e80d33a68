// Shows what a node of this pack reports (the text that also stands in /history) on the node itself.
import { app } from "../../../scripts/app.js";

const STYLE = "margin:0;padding:6px;overflow:auto;font:11px/15px monospace;user-select:text;border-radius:4px;" +
  "color:var(--input-text,#ddd);background:var(--comfy-input-bg,#222)";

function addTextBox(node, text) {
  const box = document.createElement("pre");
  box.style.cssText = STYLE;
  box.textContent = text;
  box.addEventListener("wheel", (event) => event.stopPropagation());
  const getMinHeight = () => Math.min(24 + 15 * box.textContent.split("\n").length, 240);
  const widget = node.addDOMWidget("report", "BACKPLATE_TEXT", box, { serialize: false, getMinHeight });
  widget.serialize = false;
  node.setSize([Math.max(node.size[0], 420), Math.max(node.size[1], node.computeSize()[1])]);
  return box;
}

app.registerExtension({
  name: "Backplate.Text",
  nodeCreated(node) {
    if (!node.comfyClass?.startsWith("Backplate")) return;
    const before = node.onExecuted;
    node.onExecuted = function (output) {
      before?.apply(this, arguments);
      if (!output?.text) return;
      const text = [output.text].flat().join("\n");
      this.backplateText ??= addTextBox(this, text);
      this.backplateText.textContent = text;
    };
  },
});
