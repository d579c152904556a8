// Details of a task: what stands below "Task by task" is shown in a dialog, and goes back when that is closed.
function details(root) {
  const dialog = root.querySelector("dialog");
  if (!dialog) return;
  const content = dialog.querySelector(".content");
  let home = null;

  function open(place) {
    home = root.querySelector(`#task-${place}`);
    const inside = home.querySelector(".inside");
    dialog.querySelector("h2").textContent = home.querySelector(".title").textContent;
    content.replaceChildren(inside);
    dialog.showModal();
    content.scrollTop = 0;
    for (const card of inside.querySelectorAll(".metrics .card")) {
      later(card.querySelector(".picture"), () => panelSpecification(Number(card.dataset.panel), 0));
    }
  }

  dialog.addEventListener("close", () => {
    home?.append(...content.children);
    home = null;
  });
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  dialog.querySelector(".close").addEventListener("click", () => dialog.close());
  root.addEventListener("click", (event) => {
    const link = event.target.closest("a.open");
    if (!link) return;
    event.preventDefault();
    open(link.getAttribute("href").slice("#task-".length));
  });
  root.addEventListener("click", (event) => {
    const button = event.target.closest("button.copy");
    if (!button) return;
    const words = button.closest(".inside")?.querySelector(".words");
    copy("latex" in button.dataset ? data.latex[Number(button.dataset.latex)] : words.innerText.trim(), button);
  });
}

async function copy(text, button) {
  let done = true;
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    done = copied(text, button.parentElement);
  }
  const said = button.closest("#page").querySelector("#said");
  said.textContent = done ? texts().words.copied : texts().words.notCopied;
  said.classList.add("shown");
  setTimeout(() => said.classList.remove("shown"), 1800);
}

// The older way, for browsers that give a page from a file no clipboard.
function copied(text, beside) {
  const area = document.createElement("textarea");
  area.value = text;
  beside.append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  return done;
}
