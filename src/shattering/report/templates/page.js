"use strict";
// No eval (ast), so that the page's policy can forbid it; the pictures' names, sizes and colours are the page's.
const EMBED = { actions: false, renderer: "svg", ast: true, defaultStyle: false };
const NARROW = 640, AXIS = 80; // pixels; AXIS: the room that a chart needs beside its plot

function element(name, parent, attributes = {}) {
  const made = parent.appendChild(document.createElement(name));
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

/* Shrink a chart in place to `room` pixels: plots no wider, panels and legends in one column. */
function fit(node, room) {
  if (typeof node !== "object" || node === null) return;
  if (typeof node.width === "number") node.width = Math.min(node.width, room - AXIS);
  if (room < NARROW) {
    if ("columns" in node) node.columns = 1;
    if (node.hconcat) [node.vconcat, node.hconcat] = [node.hconcat, undefined];
  }
  for (const [key, value] of Object.entries(node)) if (key !== "datasets") fit(value, room);
}

function dropLegends(node) {
  if (typeof node !== "object" || node === null) return;
  for (const channel of ["color", "shape", "strokeDash"]) if (node.encoding?.[channel]) node.encoding[channel].legend = null;
  for (const [key, value] of Object.entries(node)) if (key !== "datasets") dropLegends(value);
}

/* Add one button per series in place of the legend, which no key reaches. Any number of them can be pressed. */
function addSeries(figure, view, pick) {
  const [field] = pick.select.fields, store = pick.name + "_store", colour = view.scale("color"), dash = view.scale("strokeDash"), pressed = new Set();
  for (const value of colour.domain()) {
    const button = element("button", figure.querySelector(".series"), { type: "button", "aria-pressed": "false" });
    button.innerHTML = `<svg viewBox="0 0 30 10" aria-hidden="true"><path d="M0 5H30" stroke="${colour(value)}" stroke-width="3" stroke-dasharray="${dash(value)}"/></svg>`;
    button.append(value);
    button.addEventListener("click", () => {
      if (!pressed.delete(value)) pressed.add(value);
      view.data(store, [...pressed].map((one) => ({ unit: "", fields: [{ type: "E", field }], values: [one] }))).runAsync();
    });
    view.addSignalListener(pick.name, (_, chosen) => { // also after a click on a curve
      pressed[chosen[field]?.includes(value) ? "add" : "delete"](value);
      button.setAttribute("aria-pressed", pressed.has(value));
    });
  }
}

/* Save the chart as it was made, with its legend, whatever the width and colours of the page. */
async function save(spec, name, kind) {
  const { view } = await vegaEmbed(document.createElement("div"), spec, EMBED);
  const link = document.createElement("a");
  link.href = await view.toImageURL(kind, 2);
  link.download = `${name}.${kind}`;
  link.click();
  view.finalize();
}

async function draw(name, spec) {
  const figure = document.getElementById("chart-" + name), drawing = figure.querySelector(".drawing");
  const shown = structuredClone(spec);
  const pick = !shown.hconcat && shown.params?.find((param) => param.bind === "legend"); // panels have legends of their own
  fit(shown, drawing.clientWidth);
  if (pick) {
    delete pick.bind;
    dropLegends(shown);
  }
  try {
    const { view } = await vegaEmbed(element("div", drawing), shown, EMBED);
    drawing.querySelector("svg").setAttribute("aria-hidden", "true"); // the drawing has the words
    if (pick) addSeries(figure, view, pick);
  } catch (error) {
    element("p", figure, { class: "failed", role: "alert" }).textContent = `This figure could not be drawn: ${error.message}`;
    throw error;
  }
  for (const kind of ["svg", "png"]) {
    const button = element("button", figure.querySelector(".save"), { type: "button" });
    button.textContent = `Save ${kind.toUpperCase()}`;
    button.addEventListener("click", () => save(spec, name, kind));
  }
}

const opened = [];
addEventListener("beforeprint", () => {
  for (const details of document.querySelectorAll("details:not([open])")) opened.push(details) && (details.open = true);
});
addEventListener("afterprint", () => {
  while (opened.length) opened.pop().open = false;
});
/* Sort a table by a column, and back to the other direction at the next click; a cell without a value is last. */
function sortBy(table, column, header) {
  const down = header.getAttribute("aria-sort") !== "descending", body = table.tBodies[0];
  const key = (row) => row.cells[column].dataset.sort ?? row.cells[column].textContent;
  const rows = [...body.rows].sort((a, b) => {
    const [x, y] = [key(a), key(b)];
    if (x === "" || y === "") return (x === "") - (y === "");
    const order = isNaN(x) || isNaN(y) ? x.localeCompare(y) : x - y;
    return down ? -order : order;
  });
  body.append(...rows);
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  header.setAttribute("aria-sort", down ? "descending" : "ascending");
}

for (const table of document.querySelectorAll("table.sortable")) {
  [...table.tHead.rows[0].cells].forEach((header, column) => {
    const button = element("button", header, { type: "button", class: "sort" });
    button.append(...[...header.childNodes].filter((node) => node !== button));
    button.addEventListener("click", () => sortBy(table, column, header));
  });
}

// a figure in closed details has no width yet: it is drawn when they are opened
for (const [name, spec] of Object.entries(JSON.parse(document.getElementById("specs").textContent))) {
  const closed = document.getElementById("chart-" + name).closest("details:not([open])");
  if (closed) closed.addEventListener("toggle", () => draw(name, spec), { once: true });
  else draw(name, spec);
}
