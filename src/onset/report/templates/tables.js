// Tables: sorted by a column within each of their groups, filtered, and folded behind a count.
function sortBy(table, column) {
  const head = table.tHead.rows[0].cells[column];
  const numeric = head.classList.contains("number");
  const now = head.getAttribute("aria-sort");
  const down = now ? now === "ascending" : numeric; // numbers begin with the largest, words with the first
  for (const cell of table.tHead.rows[0].cells) cell.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", down ? "descending" : "ascending");
  const value = (row) => row.cells[column].dataset.sort;
  const missing = (text) => numeric && Number.isNaN(Number.parseFloat(text));
  for (const body of table.tBodies) {
    const rows = [...body.rows].filter((row) => !row.classList.contains("verdict"));
    rows.sort((left, right) => {
      const [a, b] = [value(left), value(right)];
      if (missing(a) || missing(b)) return missing(a) - missing(b); // what is missing stays last
      const order = numeric ? Number.parseFloat(a) - Number.parseFloat(b) : a.localeCompare(b, view.language);
      return down ? -order : order;
    });
    body.append(...rows);
  }
}

function fold(body, folded) {
  body.classList.toggle("folded", folded);
  body.querySelector(".fold")?.setAttribute("aria-expanded", String(!folded));
}

function filter(root) {
  const wanted = (id) => root.querySelector(`#${id}`)?.value ?? "";
  const metric = root.querySelector("#filter-metric") ? wanted("filter-metric") : "headline";
  const [verdict, loss] = [wanted("filter-verdict"), wanted("filter-loss")];
  const text = wanted("filter-task").trim().toLowerCase();
  let count = 0;
  for (const body of root.querySelector("#summary").tBodies) {
    let inside = 0;
    for (const row of body.querySelectorAll(".finding")) {
      const fits = (metric === "headline" ? row.dataset.headline : !metric || row.dataset.metric === metric)
        && (!loss || row.dataset.loss === loss)
        && (!verdict || body.dataset.verdict === verdict)
        && (!text || `${row.cells[0].textContent} ${row.dataset.ability}`.toLowerCase().includes(text));
      row.hidden = !fits;
      inside += fits ? 1 : 0;
    }
    body.hidden = inside === 0;
    body.querySelector(".count").textContent = inside;
    if (text || verdict) fold(body, false);
    count += inside;
  }
  root.querySelector("#shown").textContent = fill(texts().words.shown, { count });
}

function tables(root) {
  for (const table of root.querySelectorAll("table.sortable")) {
    table.tHead.addEventListener("click", (event) => {
      const cell = event.target.closest("th");
      if (cell) sortBy(table, cell.cellIndex);
    });
  }
  for (const body of root.querySelectorAll("tbody[data-folded]")) {
    fold(body, true);
    body.querySelector(".fold").addEventListener("click", () => fold(body, !body.classList.contains("folded")));
  }
  for (const id of ["filter-metric", "filter-loss", "filter-verdict", "filter-task"]) {
    root.querySelector(`#${id}`)?.addEventListener("input", () => filter(root));
  }
  if (root.querySelector("#summary")) filter(root);
}
