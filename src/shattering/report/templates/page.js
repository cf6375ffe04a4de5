"use strict";
// No eval (ast), so that the page's policy can forbid it; the pictures' names, sizes and colours are the page's.
const EMBED = { actions: false, renderer: "svg", ast: true, defaultStyle: false };
const NARROW = 640, LEAST = 120, ROW = 58; // pixels: of a page, of a plot, and of a row with its name above
const LONG = 40, PASSES = 4; // characters of a title on one line, and drawings until a chart has its width

function element(name, parent, attributes = {}) {
  const made = parent.appendChild(document.createElement(name));
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

/* Arrange a chart for a narrow page, in place: panels and legends in one column, the names of rows of points above them. */
function arrange(node) {
  if (typeof node !== "object" || node === null) return;
  if ("columns" in node) node.columns = 1;
  if (node.hconcat) [node.vconcat, node.hconcat] = [node.hconcat, undefined];
  const rows = (node.layer ?? [node]).find((one) => one.encoding?.yOffset);
  if (rows && node.height) {
    const { y } = rows.encoding;
    node.height = ROW * y.sort.length;
    y.scale = { ...y.scale, paddingInner: .45, paddingOuter: .25 };
    y.axis = { ...y.axis, labelAlign: "left", labelPadding: -4, labelOffset: -.36 * ROW, labelLimit: 0, domain: false, ticks: false, zindex: 1 };
  }
  if (typeof node.title === "string" && node.title.length > LONG) node.title = node.title.split(/(?<=,) /);
  for (const [key, value] of Object.entries(node)) if (key !== "datasets") arrange(value);
}

/* Change the width of every plot of a chart, in place. */
function widen(node, by) {
  if (typeof node !== "object" || node === null) return;
  if (typeof node.width === "number") node.width = Math.max(LEAST, node.width + by);
  for (const [key, value] of Object.entries(node)) if (key !== "datasets") widen(value, by);
}

/* Draw a chart so that it is no wider than its room, and as wide if it is to fill it. Type keeps its size: plots grow and shrink. */
async function drawFitted(place, chart, room, fills) {
  const columns = chart.hconcat?.length ?? chart.columns ?? 1;
  for (let pass = 1; ; pass++) {
    const drawn = await vegaEmbed(place, chart, EMBED), over = place.querySelector("svg").getAttribute("width") - room;
    if (pass === PASSES || Math.abs(over) < 1 || (over < 0 && !fills)) return drawn.view;
    drawn.view.finalize();
    widen(chart, -over / columns);
  }
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

/* The width of the page's text. */
function roomOfPage() {
  const main = document.getElementById("main"), { paddingLeft, paddingRight } = getComputedStyle(main);
  return main.clientWidth - parseFloat(paddingLeft) - parseFloat(paddingRight);
}

/* Draw a chart in the width of the page, and again when the page gets another one. */
async function draw(name, spec) {
  const figure = document.getElementById("chart-" + name), drawing = figure.querySelector(".drawing"), series = figure.querySelector(".series");
  const room = drawing.clientWidth || roomOfPage(); // what is folded has no width
  if (figure.dataset.room == room) return;
  figure.dataset.room = room;
  const shown = structuredClone(spec);
  const pick = !shown.hconcat && shown.params?.find((param) => param.bind === "legend"); // panels have legends of their own
  if (room < NARROW) arrange(shown);
  if (pick) {
    delete pick.bind;
    dropLegends(shown);
  }
  try {
    drawing.replaceChildren();
    series.replaceChildren();
    const view = await drawFitted(element("div", drawing), shown, room, figure.classList.contains("wide"));
    drawing.querySelector("svg").setAttribute("aria-hidden", "true"); // the drawing has the words
    if (pick) addSeries(figure, view, pick);
    figure.dataset.drawn = room;
  } catch (error) {
    element("p", figure, { class: "failed", role: "alert" }).textContent = `This figure could not be drawn: ${error.message}`;
    reportError(error);
  }
}

function addSaving(name, spec) {
  for (const kind of ["svg", "png"]) {
    const button = element("button", document.querySelector(`#chart-${name} .save`), { type: "button" });
    button.textContent = `Save ${kind.toUpperCase()}`;
    button.addEventListener("click", () => save(spec, name, kind));
  }
}

const opened = [];
addEventListener("beforeprint", () => {
  for (const details of document.querySelectorAll("details:not([open], .unprinted)")) opened.push(details) && (details.open = true);
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

// figures in the order of the page; a printed page shrinks what is drawn
const SPECS = Object.entries(JSON.parse(document.getElementById("specs").textContent));
async function drawAll() {
  for (const [name, spec] of SPECS) await draw(name, spec);
}
drawAll().then(() => {
  for (const one of SPECS) addSaving(...one);
  let waiting;
  addEventListener("resize", () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => matchMedia("print").matches || drawAll(), 150);
  });
});
