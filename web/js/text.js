// Shows what a node of this pack reports (the text that also stands in /history) on the node itself.
import { app } from "../../../scripts/app.js";

const STYLE = "overflow:auto;user-select:text;padding:6px;border-radius:4px;color:var(--input-text,#ddd);" +
  "background:var(--comfy-input-bg,#222)";

function addTextBox(node) {
  const box = document.createElement("div");
  box.style.cssText = STYLE;
  box.addEventListener("wheel", (event) => event.stopPropagation());
  const getMinHeight = () => Math.min(24 + 15 * box.textContent.split("\n").length, 240);
  node.addDOMWidget("report", "BACKPLATE_TEXT", box, { serialize: false, getMinHeight }).serialize = false;
  return box;
}

// Tables keep their columns and scroll; sentences are wrapped.
function paragraph(text) {
  const element = document.createElement("pre");
  element.style.cssText = "margin:0;font:11px/15px monospace";
  element.style.whiteSpace = text.includes("\n---") ? "pre" : "pre-wrap";
  element.textContent = `${text}\n\n`;
  return element;
}

app.registerExtension({
  name: "Backplate.Text",
  nodeCreated(node) {
    if (!node.comfyClass?.startsWith("Backplate")) return;
    const before = node.onExecuted;
    node.onExecuted = function (output) {
      before?.apply(this, arguments);
      if (!output?.text) return;
      const first = !this.backplateText;
      this.backplateText ??= addTextBox(this);
      this.backplateText.replaceChildren(...[output.text].flat().join("\n").split("\n\n").map(paragraph));
      if (first) this.setSize([Math.max(this.size[0], 420), Math.max(this.size[1], this.computeSize()[1])]);
    };
  },
});
