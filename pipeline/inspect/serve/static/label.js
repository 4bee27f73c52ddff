// Labelling by key press: every word is sent at once, and the answer holds the next row.

import { drawn, element, picture, pictureAddress } from "./tiles.js";

const root = document.querySelector("#label");
const cut = root.dataset.cut;
const address = `${location.pathname}.json${root.dataset.query}`;
const KEYS = { k: "keep", d: "drop", s: "skip", u: "undo", Backspace: "undo" };
const part = (name) => root.querySelector(`[data-part="${name}"]`);
let now = null;
let busy = false;

async function ask(options) {
  busy = true;
  try {
    const answer = await fetch(address, options);
    const found = await answer.json();
    if (answer.status === 503) {
      setTimeout(() => ask(options), 1000);
    } else if (answer.ok) {
      show(found);
    } else {
      tell(found.error);
    }
  } catch {
    tell("The server does not answer. What you labelled so far is in the file.");
  } finally {
    busy = false;
  }
}

function say(word) {
  if (busy || !now || (word === "undo" ? !now.can_undo : !now.row)) return;
  const { shard, row } = now.row || { shard: 0, row: 0 };
  ask({
    method: "POST",
    headers: { "Content-Type": "application/json", "X-Cupel": "label" },
    body: JSON.stringify(word === "undo" ? { say: word } : { say: word, shard, row }),
  });
}

function tell(words) {
  part("told").textContent = words;
  part("told").hidden = !words;
}

function show(found) {
  now = found;
  tell("");
  showRow(found.row);
  for (const button of root.querySelectorAll("[data-say]")) {
    button.disabled = button.dataset.say === "undo" ? !found.can_undo : !found.row;
  }
  if (found.after && found.after.picture === "show") new Image().src = pictureAddress(cut, found.after, 1024);
  const done = labelled(found);
  part("progress").max = Math.max(found.goal, 1);
  part("progress").value = Math.min(done, found.goal);
  part("count").textContent = `${done} labelled of ${found.goal} suggested`;
  part("last").textContent = found.last ? `The last word: ${found.last}.` : "";
  for (const name of Object.keys(found.estimates)) showRate(name, found.estimates[name]);
}

function labelled(found) {
  return Object.values(found.strata).reduce((sum, stratum) => sum + stratum.keep + stratum.drop, 0);
}

function showRow(row) {
  const stage = part("stage");
  if (!row) {
    stage.replaceChildren(element("p", { class: "empty" }, "No row is left to label here."));
    return;
  }
  stage.replaceChildren(
    ...[
      picture(cut, row, 1024),
      element("p", { class: row.picture ? "label-words" : "label-words alone-words", tabindex: "0" }, element("bdi", {}, row.words || "(no caption)")),
    ].filter(Boolean),
  );
}

function percent(share) {
  const near = share !== 0 && share !== 1 && (share < 0.005 || share > 0.995);
  return `${(100 * share).toFixed(near ? 1 : 0)} %`;
}

function showRate(name, rate) {
  const at = part(name);
  const known = rate.share !== null;
  at.querySelector("[data-rate=share]").textContent = known ? percent(rate.share) : "–";
  at.querySelector("[data-rate=interval]").textContent = known ? `${percent(rate.low)} to ${percent(rate.high)}` : "not known yet";
  const bar = at.querySelector("svg");
  bar.replaceChildren();
  if (!known) return;
  const [low, high] = [100 * rate.low, 100 * rate.high];
  bar.append(
    drawn("rect", { class: "reach", x: low, y: 2, width: Math.max(high - low, 0.5), height: 4, rx: 2 }),
    drawn("rect", { class: "found", x: Math.min(Math.max(100 * rate.share - 0.5, 0), 99), y: 0, width: 1, height: 8 }),
  );
}

root.addEventListener("click", (event) => {
  const button = event.target.closest("[data-say]");
  if (button) say(button.dataset.say);
});

document.addEventListener("keydown", (event) => {
  const typing = event.target.closest("input, select, textarea");
  if (typing || event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  if (event.key === "v") {
    root.querySelector(".reveal")?.click();
    return;
  }
  const word = KEYS[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  if (!word) return;
  event.preventDefault();
  say(word);
});

for (const select of document.querySelectorAll(".label-choice select")) {
  select.addEventListener("change", () => select.form.requestSubmit());
}

ask({});
