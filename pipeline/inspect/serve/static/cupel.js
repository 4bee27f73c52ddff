// Small conveniences; every page works without them.

// Blurred pictures are shown when clicked, and blurred again when clicked once more.
function revealable(root) {
  for (const button of root.querySelectorAll("button.reveal")) {
    button.addEventListener("click", () => {
      const shown = button.closest(".picture").classList.toggle("revealed");
      button.setAttribute("aria-pressed", String(shown));
      button.textContent = shown ? "Blur" : "Show";
    });
  }
}

// A part of another page: <section data-include="ADDRESS#ID">. That page answers 202 until its rows are read.
async function include(section, tries = 120) {
  const [address, id] = section.dataset.include.split("#");
  const answer = await fetch(address);
  if (answer.status === 202 && tries) {
    setTimeout(include, 1000, section, tries - 1);
    return;
  }
  const page = new DOMParser().parseFromString(await answer.text(), "text/html");
  const part = answer.status === 200 ? page.getElementById(id) : null;
  if (!part) return;
  section.querySelector(".included").replaceChildren(document.adoptNode(part));
  revealable(section);
}

// j and k, or the arrows, go from row to row of a list, and to the page before and after where there is none.
function walk(event) {
  const typing = event.target.closest?.("input, select, textarea, [contenteditable], [role=slider]");
  const step = { j: 1, ArrowRight: 1, k: -1, ArrowLeft: -1 }[event.key];
  if (!step || typing || event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
  const links = [...document.querySelectorAll("[data-walk] a.caption, [data-walk] a.title")];
  const at = links.indexOf(document.activeElement);
  const next = at < 0 ? (step > 0 ? links[0] : links.at(-1)) : links[at + step];
  const page = document.querySelector(step > 0 ? "a[rel=next]" : "a[rel=prev]");
  if (next) next.focus();
  else if (page) page.click();
  else return;
  event.preventDefault();
}

revealable(document);
document.querySelectorAll("[data-include]").forEach((section) => include(section));
document.addEventListener("keydown", walk);
