// Inputs that are marked advanced, on the classic canvas too: Nodes 2.0 folds them away by itself, the classic canvas
// draws them all. What is folded away keeps its value and its place in a saved workflow, and is sent with the prompt.
import { app } from "../../../scripts/app.js";
import { api } from "../../../scripts/api.js";

const ALWAYS = "Comfy.Node.AlwaysShowAdvancedWidgets";
const WORDS = { show: "Show advanced inputs", hide: "Hide advanced inputs" };

function setting(name) {
  return app.extensionManager?.setting?.get?.(name);
}

function isLinked(node, name) {
  return node.inputs?.some((input) => input.widget?.name === name && input.link != null);
}

// `shown_for` of nodes/schema.py: the values of another input that make this one matter. One that comes over a link may
// be any of them.
function isWanted(node, conditions) {
  return Object.entries(conditions).some(([name, values]) => {
    const other = node.widgets.find((widget) => widget.name === name);
    return isLinked(node, name) || values.includes(other?.value);
  });
}

function conditionsOf(node, name) {
  const { required, optional } = node.constructor.nodeData?.input ?? {};
  return ({ ...required, ...optional })[name]?.[1]?.shown_for;
}

// Asked for at each drawing, so that a change of `fit`, a link or the setting counts at once.
function fold(node, widget, button) {
  const conditions = conditionsOf(node, widget.name);
  if (conditions) {
    Object.defineProperty(widget.options, "advanced", {
      configurable: true, enumerable: true, get: () => !isWanted(node, conditions), set() {},
    });
  }
  let hidden = widget.hidden, y = widget.y;
  const folded = () => widget.options.advanced && !node.showAdvanced && !setting(ALWAYS) && !isLinked(node, widget.name);
  Object.defineProperty(widget, "hidden", {
    configurable: true, enumerable: true, get: () => hidden || folded(), set: (value) => { hidden = value; },
  });
  // A link that is drawn over the node finds the sockets of what is folded away at the button.
  Object.defineProperty(widget, "y", {
    configurable: true, enumerable: true, get: () => (widget.hidden ? button.y : y), set: (value) => { y = value; },
  });
}

// The height that its inputs need, and the room that the user had given it beyond that.
function resized(node, change) {
  const spare = Math.max(0, node.size[1] - node.computeSize()[1]);
  change();
  node.setSize([node.size[0], node.computeSize()[1] + spare]);
  node.graph?.setDirtyCanvas(true, true);
}

function addButton(node) {
  const button = node.addWidget("button", "show_advanced", "", () => {
    resized(node, () => { node.showAdvanced = !node.showAdvanced; });
  }, { serialize: false, canvasOnly: true });
  button.serialize = false;
  Object.defineProperties(button, {
    label: { configurable: true, get: () => WORDS[node.showAdvanced ? "hide" : "show"], set() {} },
    hidden: { configurable: true, get: () => Boolean(window.LiteGraph.vueNodesMode || setting(ALWAYS)), set() {} },
  });
  return button;
}

function keepHeight(node, names) {
  for (const widget of node.widgets.filter((each) => names.has(each.name))) {
    const earlier = widget.callback;
    widget.callback = function () {
      const result = earlier?.apply(this, arguments);
      const needed = node.computeSize()[1];
      if (needed > node.size[1]) node.setSize([node.size[0], needed]);
      return result;
    };
  }
}

app.registerExtension({
  name: "Backplate.Advanced",
  async setup() {
    const texts = await api.getCustomNodesI18n?.().catch(() => undefined);
    Object.assign(WORDS, texts?.[setting("Comfy.Locale")]?.backplate?.advanced);
  },
  nodeCreated(node) {
    if (!node.comfyClass?.startsWith("Backplate")) return;
    const advanced = node.widgets?.filter((widget) => widget.options?.advanced) ?? [];
    if (!advanced.length) return;
    const button = addButton(node);
    for (const widget of advanced) fold(node, widget, button);
    keepHeight(node, new Set(advanced.flatMap((widget) => Object.keys(conditionsOf(node, widget.name) ?? {}))));
    node.setSize([node.size[0], node.computeSize()[1]]);
  },
});
