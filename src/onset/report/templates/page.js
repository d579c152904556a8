"use strict";
// Draws the page's pictures from its data, and makes its tables sortable. All texts are set as text, never as HTML.
(() => {
  const data = JSON.parse(document.getElementById("page-data").textContent);
  const PER_PAGE = { panels: 12, metrics: 4, residuals: 12 };
  const MANY = 600; // points above which a picture is a canvas, not SVG
  const named = (column, index) => column.names[column.of[index]];

  // ---- pictures -------------------------------------------------------------------------------------------
  function points(panel, axis, view) {
    const { checkpoints } = data.losses[view.loss];
    const rows = [];
    panel.at.forEach((at, index) => {
      if (view.finals && !checkpoints.final[at]) return;
      if (view.kind && named(checkpoints.kind, at) !== view.kind) return;
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

  function rowsOf(columns) {
    const names = Object.keys(columns);
    return names.length ? columns[names[0]].map((_, row) => Object.fromEntries(names.map((n) => [n, columns[n][row]]))) : [];
  }

  function specification(panel, view) {
    const axis = view.axis;
    const { templates } = data.losses[view.loss];
    const near = axis === "loss" && view.range === "near" && templates.loss_near;
    const spec = structuredClone(near ? templates.loss_near : templates[axis]);
    const law = axis === "loss";
    const rows = points(panel, axis, view);
    spec.datasets = {
      points: rows,
      curve: law ? rowsOf(panel.curve) : [],
      threshold: law && panel.threshold ? [panel.threshold] : [],
      chance: panel.chance === null ? [] : [{ score: panel.chance }],
    };
    for (const layer of spec.layer) {
      const y = layer.encoding.y;
      if (!y) continue;
      y.scale.domain = near ? panel.nearExtent : panel.extent;
      y.title = panel.label;
    }
    return [spec, rows.length];
  }

  function residualSpecification(panel, view) {
    const spec = structuredClone(data.losses[view.loss].templates.residuals);
    spec.datasets = { ...data.datasets, points: rowsOf(panel.residuals) };
    return [spec, panel.residuals.loss.length];
  }

  const pending = new Map(); // element -> function that draws it
  const views = new Map(); // element -> vega view, to be let go
  const watcher = new IntersectionObserver((entries) => {
    for (const entry of entries) if (entry.isIntersecting) draw(entry.target);
  }, { rootMargin: "500px" });

  function later(element, make) {
    pending.set(element, make);
    watcher.observe(element);
  }

  async function draw(element) {
    const make = pending.get(element);
    if (!make) return;
    pending.delete(element);
    watcher.unobserve(element);
    const [spec, count, actions] = make();
    const shown = await vegaEmbed(element, spec, {
      actions: actions || false, renderer: count > MANY ? "canvas" : "svg", ast: true, mode: "vega-lite",
    });
    if (element.isConnected) views.set(element, shown); else shown.finalize();
  }

  function clear(container) {
    for (const element of container.querySelectorAll(".picture")) {
      pending.delete(element);
      watcher.unobserve(element);
      const shown = views.get(element);
      if (shown) shown.finalize();
      views.delete(element);
    }
    container.replaceChildren();
  }

  function make(tag, name, text) {
    const element = document.createElement(tag);
    if (name) element.className = name;
    if (text !== undefined) element.textContent = text;
    return element;
  }

  function card(panel, heading, note, spec) {
    const box = make("div", "card");
    box.append(make("h4", "", heading));
    const sub = make("p", "sub");
    sub.append([note, panel.lower ? "lower is better" : "", ""].filter((part, at) => part || at === 2).join(" · "));
    const verdict = make("b", "", panel.verdictLabel);
    verdict.style.color = panel.colour;
    sub.append(verdict);
    if (panel.threshold) sub.append(" at ", make("span", "", panel.threshold.text));
    const picture = make("div", "picture");
    picture.setAttribute("aria-label", `${heading}, ${panel.label}: ${panel.verdictLabel}`);
    box.append(sub, picture);
    later(picture, spec);
    return box;
  }

  // ---- grids of panels ------------------------------------------------------------------------------------
  function grid(element) {
    const cards = element.querySelector(".cards");
    const pager = element.querySelector(".pager");
    const view = {
      kind: element.dataset.kind || "", finals: element.dataset.finals === "1", axis: element.dataset.axis,
      range: "near", metric: "", page: 0, loss: 0,
    };
    const mode = element.dataset.view;

    function entries() {
      const { panels } = data.losses[view.loss];
      if (mode === "metrics") {
        const byTask = new Map();
        for (const panel of panels) byTask.set(panel.task, [...(byTask.get(panel.task) || []), panel]);
        return [...byTask.values()].filter((row) => row.length > 1);
      }
      if (mode === "residuals") return panels.filter((panel) => panel.residuals);
      return panels.filter((panel) => (view.metric ? panel.metric === view.metric : panel.headline));
    }

    function render() {
      clear(cards);
      const all = entries();
      const size = PER_PAGE[mode];
      const shown = all.slice(view.page * size, (view.page + 1) * size);
      for (const entry of shown) cards.append(mode === "metrics" ? row(entry) : one(entry));
      pager.hidden = all.length <= size;
      pager.querySelector("span").textContent =
        `${view.page * size + 1} to ${Math.min(all.length, (view.page + 1) * size)} of ${all.length}`;
      const [back, on] = pager.querySelectorAll("button");
      back.disabled = view.page === 0;
      on.disabled = (view.page + 1) * size >= all.length;
      const range = element.querySelector("[data-role=range]");
      if (range) range.hidden = view.axis !== "loss" || !data.losses[view.loss].templates.loss_near;
      element.dataset.axis = view.axis;
    }

    function one(panel) {
      if (mode === "residuals") return card({ ...panel, lower: false }, panel.title, panel.label, () => residualSpecification(panel, { ...view }));
      return card(panel, panel.title, panel.label, () => specification(panel, { ...view }));
    }

    function row(panels) {
      const box = make("div", "row");
      const heading = make("h3", "", panels[0].title);
      if (panels[0].title !== panels[0].task) heading.append(make("small", "id", panels[0].task));
      const across = make("div", "across");
      for (const panel of panels) across.append(card(panel, panel.label, "", () => specification(panel, { ...view })));
      box.append(heading, across);
      return box;
    }

    function set(name, value) {
      view[name] = value;
      if (name !== "page" && name !== "axis" && name !== "range") view.page = 0;
      render();
    }

    element.addEventListener("change", (event) => {
      const target = event.target;
      const role = target.dataset.role || target.closest("[data-role]")?.dataset.role;
      if (role === "finals") set("finals", target.checked);
      else if (role === "loss") set("loss", Number(target.value));
      else if (role) set(role, target.value);
    });
    pager.addEventListener("click", (event) => {
      const step = Number(event.target.dataset.step);
      if (step) set("page", view.page + step);
    });
    render();
  }

  // ---- tables ---------------------------------------------------------------------------------------------
  function sortBy(table, column) {
    const head = table.tHead.rows[0].cells[column];
    const numeric = head.classList.contains("number");
    // Numbers begin with the largest, words with the first.
    const now = head.getAttribute("aria-sort");
    const down = now ? now === "ascending" : numeric;
    for (const cell of table.tHead.rows[0].cells) cell.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const value = (row) => row.cells[column].dataset.sort;
    const missing = (text) => numeric && Number.isNaN(Number.parseFloat(text));
    const rows = [...table.tBodies[0].rows].sort((left, right) => {
      const [a, b] = [value(left), value(right)];
      if (missing(a) || missing(b)) return missing(a) - missing(b); // what is missing stays last
      const order = numeric ? Number.parseFloat(a) - Number.parseFloat(b) : a.localeCompare(b, "en");
      return down ? -order : order;
    });
    table.tBodies[0].append(...rows);
  }

  for (const table of document.querySelectorAll("table.sortable")) {
    table.tHead.addEventListener("click", (event) => {
      const cell = event.target.closest("th");
      if (cell) sortBy(table, cell.cellIndex);
    });
  }

  const summary = document.getElementById("summary");
  const wanted = (id) => document.getElementById(id)?.value ?? "";
  function filter() {
    const metric = document.getElementById("filter-metric") ? wanted("filter-metric") : "";
    const [verdict, text] = [wanted("filter-verdict"), wanted("filter-task").trim().toLowerCase()];
    const loss = wanted("filter-loss");

    let count = 0;
    for (const row of summary.tBodies[0].rows) {
      const fits = (metric === "headline" ? row.dataset.headline : !metric || row.dataset.metric === metric)
        && (!loss || row.dataset.loss === loss)
        && (!verdict || row.dataset.verdict === verdict)
        && (!text || (row.cells[0].textContent + " " + row.dataset.ability).toLowerCase().includes(text));
      row.hidden = !fits;
      count += fits ? 1 : 0;
    }
    document.getElementById("shown").textContent = `${count} shown`;
  }
  for (const id of ["filter-metric", "filter-loss", "filter-verdict", "filter-task"]) {
    document.getElementById(id)?.addEventListener("input", filter);
  }
  filter();

  // ---- begin ----------------------------------------------------------------------------------------------
  const PATHS = {
    circle: "M-5 0A5 5 0 1 0 5 0A5 5 0 1 0 -5 0", "triangle-up": "M0 -5L5 4H-5Z", square: "M-4 -4H4V4H-4Z",
    diamond: "M0 -6L5 0L0 6L-5 0Z", cross: "M-2 -6H2V-2H6V2H2V6H-2V2H-6V-2H-2Z", "triangle-down": "M0 5L5 -4H-5Z",
  };
  for (const path of document.querySelectorAll("path.shape")) path.setAttribute("d", PATHS[path.dataset.shape] || PATHS.circle);
  for (const element of document.querySelectorAll(".grid")) grid(element);
  for (const element of document.querySelectorAll(".chart")) {
    later(element, () => {
      const spec = structuredClone(data.alone[element.dataset.chart]);
      spec.datasets = data.datasets;
      return [spec, 0, { export: true, source: false, compiled: false, editor: false }];
    });
  }
  window.addEventListener("beforeprint", () => { for (const element of [...pending.keys()]) draw(element); });
})();
