// Shows what a node of this pack reports (the text that also stands in /history) on the node itself.
import { app } from "../../../scripts/app.js";

function textBox(node) {
  const box = document.createElement("pre");
  box.style.cssText = "margin:0;padding:6px;overflow:auto;font:11px/1.4 monospace;user-select:text;" +
    "color:var(--input-text,#ddd);background:var(--comfy-input-bg,#222);border-radius:4px";
  box.addEventListener("wheel", (event) => event.stopPropagation());
  const widget = node.addDOMWidget("report", "BACKPLATE_TEXT", box, { serialize: false, getMinHeight: () => 120 });
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
      this.backplateText ??= textBox(this);
      this.backplateText.textContent = [output.text].flat().join("\n");
    };
  },
});
