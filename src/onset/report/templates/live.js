// A live page: the server tells by server-sent events what each run has done, and when there are new findings.
function live(root) {
  const address = document.querySelector("meta[name=onset-live]")?.content;
  const section = root.querySelector("#live");
  if (!address || !section) return;
  const state = section.querySelector(".state");
  const { words } = texts();
  source?.close();
  source = new EventSource(address);
  source.addEventListener("progress", (event) => {
    const told = JSON.parse(event.data);
    state.textContent = [told.summary[view.language], told.working && words.working, told.problem].filter(Boolean).join(" ");
    runs(section.querySelector("tbody"), told.runs);
    losses(section.querySelector("[data-live=loss]"), told.losses, words);
  });
  source.addEventListener("page", () => {
    state.textContent = words.updated;
    const dialog = root.querySelector("dialog[open]");
    if (dialog) dialog.addEventListener("close", renew); else renew(); // nobody's reading is broken off
  });
  source.addEventListener("error", () => { state.textContent = words.lost; });
}

function renew() {
  remember("view", JSON.stringify(view));
  location.reload();
}

let source = null;
let lossView = null;

function runs(body, rows) {
  body.replaceChildren(...rows.map((row) => {
    const line = document.createElement("tr");
    const loss = row.last_loss === null ? "" : row.last_loss.toFixed(4);
    const cells = [row.run, row.state[view.language], `${row.checkpoints}/${row.declared}`, `${row.evaluated}/${row.declared}`, loss];
    cells.forEach((text, place) => {
      const cell = document.createElement("td");
      cell.textContent = text;
      if (place > 1) cell.className = "number";
      line.append(cell);
    });
    return line;
  }));
}

async function losses(element, rows, words) {
  element.hidden = rows.length === 0;
  if (!rows.length) return;
  const channel = (field, title) => ({ field, type: "quantitative", title, scale: { type: "log", nice: false }, axis: { tickCount: 6, format: "~s" } });
  const spec = {
    width: "container", height: 240, data: { values: rows }, mark: { type: "line", aria: false, strokeWidth: 1.5 },
    config: { background: "white", view: { stroke: null }, axis: { gridColor: "#dfe3e8", labelColor: "#1c2330", titleColor: "#1c2330", titleFontWeight: "normal" } },
    encoding: { x: channel("tokens", words.tokens), y: channel("loss", words.loss), color: { field: "run", type: "nominal", legend: rows.length ? { title: null, orient: "right" } : null } },
  };
  lossView?.finalize();
  lossView = await vegaEmbed(element, spec, { actions: false, renderer: "svg", ast: true, mode: "vega-lite" });
}
