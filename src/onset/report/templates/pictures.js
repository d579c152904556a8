// Pictures: panels of the grid and charts that stand alone, drawn by vega-embed when they come near the screen.
const data = JSON.parse(document.getElementById("page-data").textContent);
const MANY = 2500; // points above which a picture is a canvas, not SVG
const view = { language: data.language, axis: "loss", range: "near", y: "score", finals: "all", metric: "", loss: 0 };
const texts = () => data.texts[view.language];
const named = (column, index) => column.names[column.of[index]];
const fill = (text, values) => text.replace(/\{(\w+)\}/g, (all, name) => (name in values ? values[name] : all));
const pending = new Map(); // element -> function that gives its specification
const drawn = new Map(); // element -> vega view, to be let go

function rowsOf(columns) {
  const names = Object.keys(columns);
  return names.length ? columns[names[0]].map((_, row) => Object.fromEntries(names.map((n) => [n, columns[n][row]]))) : [];
}

function points(panel, axis) {
  const { checkpoints } = data.losses[view.loss];
  const rows = [];
  panel.at.forEach((at, index) => {
    if (view.finals === "final" && !checkpoints.final[at]) return;
    const value = checkpoints[axis][at];
    if (value === null || (axis !== "loss" && value <= 0)) return;
    rows.push({
      run: named(checkpoints.run, at), size: named(checkpoints.size, at), kind: named(checkpoints.kind, at), step: checkpoints.step[at],
      params: checkpoints.params[at], tokens: checkpoints.tokens[at], flops: checkpoints.flops[at],
      loss: checkpoints.loss[at], score: panel.score[index], stderr: panel.stderr ? panel.stderr[index] : null,
    });
  });
  return rows;
}

function residuals(panel, loss) {
  const { checkpoints } = data.losses[loss];
  const first = new Map(); // run -> its first checkpoint, which has its size
  checkpoints.run.of.forEach((run, at) => { if (!first.has(run)) first.set(run, at); });
  return rowsOf(panel.residuals).map((row) => {
    const at = first.get(row.run);
    return { ...row, run: checkpoints.run.names[row.run], params: checkpoints.params[at], size: named(checkpoints.size, at) };
  });
}

// The specification of a panel of the first loss measure or of the chosen one, as the switches stand.
function panelSpecification(place, loss) {
  const panel = data.losses[loss].panels[place];
  const { templates, panels } = texts().losses[loss];
  if (view.y === "residuals" && panel.residuals) {
    const spec = structuredClone(templates.residuals);
    spec.datasets = { ...data.datasets, points: residuals(panel, loss) };
    return [spec, panel.residuals.loss.length, panels[place]];
  }
  const near = view.axis === "loss" && view.range === "near" && templates.loss_near;
  const spec = structuredClone(near ? templates.loss_near : templates[view.axis]);
  const curve = view.axis === "loss";
  const rows = points(panel, view.axis);
  spec.datasets = {
    points: rows,
    curve: curve ? rowsOf(panel.curve) : [],
    threshold: curve && panel.threshold ? [panel.threshold] : [],
    chance: panel.chance === null ? [] : [{ score: panel.chance }],
  };
  for (const layer of spec.layer) {
    const y = layer.encoding.y;
    if (!y) continue;
    y.scale.domain = near ? panel.nearExtent : panel.extent;
    y.title = null; // the line above the picture names the metric
  }
  return [spec, rows.length, panels[place]];
}

function alone(name, narrow) {
  const spec = structuredClone(texts().alone[name]);
  spec.datasets = data.datasets;
  if (name === "onsets" && narrow) {
    spec.layer.pop(); // the numbers beside the rows, which are in the table too
    spec.padding.right = 10;
    spec.title = spec.title.text;
    for (const layer of spec.layer) if (layer.encoding?.y?.axis) layer.encoding.y.axis.labelLimit = 130;
  }
  return [spec, 0, null];
}

const watcher = new IntersectionObserver((entries) => {
  for (const entry of entries) if (entry.isIntersecting) draw(entry.target);
}, { rootMargin: "400px" });

function later(element, make) {
  pending.set(element, make);
  watcher.unobserve(element); // observing anew tells at once whether it is near
  watcher.observe(element);
}

async function draw(element) {
  const make = pending.get(element);
  if (!make || !element.clientWidth) return;
  pending.delete(element);
  watcher.unobserve(element);
  const [spec, count, said] = make();
  const holder = document.createElement("div");
  const before = [...element.children];
  element.append(holder);
  const exported = element.classList.contains("chart") && { export: true, source: false, compiled: false, editor: false };
  const canvas = count > MANY;
  const shown = await vegaEmbed(holder, spec, {
    actions: exported || false, i18n: texts().words.menu, renderer: canvas ? "canvas" : "svg", ast: true, mode: "vega-lite", tooltip: { theme: "custom" },
  });
  element.classList.toggle("canvas", canvas);
  for (const old of before) old.remove();
  release(element);
  if (element.isConnected && holder.isConnected) drawn.set(element, shown); else shown.finalize();
  if (said) element.setAttribute("aria-label", described(said, count));
  if (exported) namePicture(element, holder);
}

// The picture is what has a name, and not the element that has its menu too: what is inside an image is not read out.
function namePicture(element, holder) {
  const marks = holder.querySelector(".marks");
  marks.setAttribute("role", "img");
  marks.setAttribute("aria-label", element.getAttribute("aria-label"));
  element.removeAttribute("role");
  element.removeAttribute("aria-label");
  const menu = holder.querySelector("summary");
  menu.setAttribute("aria-label", texts().words.menu.CLICK_TO_VIEW_ACTIONS);
  menu.querySelector("svg").setAttribute("aria-hidden", "true");
}

// What a panel shows, for those who do not see it: the sentence as it was written, or what was switched to.
function described(said, count) {
  const plain = view.axis === "loss" && view.y === "score" && view.finals === "all";
  if (plain) return said.alt;
  const { words, axes } = texts();
  const label = view.y === "residuals" ? words.residuals : said.label;
  return fill(words.against, { title: said.title, label, axis: axes[view.axis], count });
}

function release(element) {
  drawn.get(element)?.finalize();
  drawn.delete(element);
}

// All pictures below a root are drawn, those near the screen at once.
function pictures(root) {
  for (const element of root.querySelectorAll(".chart[data-chart]")) later(element, () => alone(element.dataset.chart, element.clientWidth < 640));
  for (const element of root.querySelectorAll(".metrics .card")) {
    later(element.querySelector(".picture"), () => panelSpecification(Number(element.dataset.panel), 0));
  }
}

// The cards of the grid, each with the panel that the switches ask for; a task without one has no card.
function cards(grid) {
  const { panels } = data.losses[view.loss];
  const wanted = new Map();
  panels.forEach((panel, place) => {
    if (view.metric ? panel.metric === view.metric : panel.headline) wanted.set(panel.task, place);
  });
  for (const card of grid.querySelectorAll(".card")) {
    const place = wanted.get(Number(card.dataset.task));
    const has = place !== undefined && (view.y === "score" || panels[place].residuals);
    card.hidden = !has;
    if (!has) continue;
    card.querySelector(".sub").textContent = texts().losses[view.loss].panels[place].sub;
    later(card.querySelector(".picture"), () => panelSpecification(place, view.loss));
  }
}

function switches(grid) {
  const show = () => {
    const templates = texts().losses[view.loss].templates;
    for (const [role, hidden] of [
      ["range", view.axis !== "loss" || view.y !== "score" || !templates.loss_near],
      ["axis", view.y !== "score"], ["finals", view.y !== "score"],
    ]) {
      const set = grid.querySelector(`[data-role=${role}]`);
      if (set) set.hidden = hidden;
    }
    const note = document.querySelector("[data-note=near]");
    if (note) note.hidden = view.axis !== "loss" || view.range !== "near";
    grid.dataset.axis = view.y === "score" ? view.axis : "loss";
    cards(grid);
  };
  for (const control of grid.querySelectorAll("[data-role]")) {
    const { role } = control.dataset;
    const chosen = String(view[role]);
    if (control.tagName === "SELECT") control.value = chosen;
    else for (const input of control.querySelectorAll("input")) input.checked = input.value === chosen;
  }
  grid.addEventListener("change", (event) => {
    const role = event.target.closest("[data-role]")?.dataset.role;
    if (!role) return;
    view[role] = role === "loss" ? Number(event.target.value) : event.target.value;
    show();
  });
  show();
}
