// The page begins, and begins anew when its reader chooses the other language.
const bodies = new Map([...document.querySelectorAll("template[data-language]")].map((one) => [one.dataset.language, one.content]));

function start() {
  const root = document.getElementById("page");
  pictures(root);
  const grid = root.querySelector(".grid");
  if (grid) switches(grid);
  tables(root);
  details(root);
  live(root);
  for (const button of root.querySelectorAll("button.language")) {
    button.addEventListener("click", () => choose(button.dataset.language));
  }
}

function choose(language) {
  const root = document.getElementById("page");
  if (language === view.language || !bodies.has(language)) return;
  const left = new DocumentFragment();
  pending.clear();
  for (const element of [...drawn.keys()]) release(element);
  left.append(...root.childNodes);
  bodies.set(view.language, left);
  const next = root.cloneNode(false); // without the listeners of the language that is left
  next.append(bodies.get(language));
  next.dataset.language = language;
  root.replaceWith(next);
  view.language = language;
  document.documentElement.lang = language;
  remember("language", language);
  start();
  for (const element of pending.keys()) requestIdleCallback(() => draw(element)); // print finds them drawn
}

function remember(name, value) {
  try { sessionStorage.setItem(`onset-${name}`, value); } catch { /* a page without storage forgets */ }
}

function remembered(name) {
  try { return sessionStorage.getItem(`onset-${name}`); } catch { return null; }
}

// A live page that was renewed goes on as its reader left it.
const living = document.querySelector("meta[name=onset-live]");
const left = living && JSON.parse(remembered("view"));
if (left && left.loss < data.losses.length) Object.assign(view, left, { language: view.language });
start();
const before = living && remembered("language");
if (before) choose(before);
