// Sliders: every move asks the server what would be kept; of waiting questions only the newest is sent.

import { element, tile } from "./tiles.js";

const form = document.querySelector("#thresholds");
const cut = form.dataset.cut;
const base = `/cut/${encodeURIComponent(cut)}/thresholds`;
const REST_MS = 180; // without a move, before rows are looked up
const LONG_REST_MS = 500; // and more, before curves are: the server works on them for a moment
const numbers = new Intl.NumberFormat("en");
const number = (value) => (value === null || value === undefined ? "–" : numbers.format(value).replace("-", "−"));
const part = (name, within = document) => within.querySelector(`[data-part="${name}"]`);
const SIDES = { min: ["below", "above"], max: ["above", "below"], top: ["below", "above"], bottom: ["above", "below"] };

const slides = new Map(); // id of a side -> what belongs to it
const bounds = new Map(); // id of a bound -> what belongs to it
const seen = new Set(); // bounds on the screen
let asking = false;
let again = false;
let resting = 0;
let looking = null; // aborts what is looked up at rest

// State

class Slide {
  constructor(root, bound) {
    this.root = root;
    this.bound = bound;
    this.id = root.dataset.side;
    this.kind = root.dataset.kind;
    this.initial = root.dataset.initial;
    this.stops = root.dataset.stops.split(" ").map((stop) => stop.split(":").map(Number));
    this.field = root.querySelector("input[type=number]");
    this.range = root.querySelector("input[type=range]");
    for (const control of [this.range, root.querySelector("[data-do=away]")]) control.hidden = false;
    this.range.addEventListener("input", () => this.set(String(this.nearest(Number(this.range.value))[1])));
    this.range.addEventListener("keydown", (event) => this.key(event));
    this.field.addEventListener("input", () => this.field.validity.badInput || this.set(this.field.value));
    root.querySelector("[data-do=reset]").addEventListener("click", () => this.set(this.initial));
    root.querySelector("[data-do=away]").addEventListener("click", () => this.set(""));
    root.addEventListener("focusin", () => bound.turnTo(this));
    this.show();
  }

  get value() {
    return this.field.value;
  }

  get moved() {
    return this.value === "" ? this.initial !== "" : Number(this.value) !== Number(this.initial);
  }

  nearest(place) {
    return this.stops.reduce((best, stop) => (Math.abs(stop[0] - place) < Math.abs(best[0] - place) ? stop : best));
  }

  // Where a value stands on the slider: between two stops, by its share of the way.
  placeOf(value) {
    const after = this.stops.findIndex((stop) => stop[1] >= value);
    if (after < 0) return 1;
    const [high, low] = [this.stops[after], this.stops[Math.max(after - 1, 0)]];
    return high[1] === low[1] ? high[0] : low[0] + ((high[0] - low[0]) * (value - low[1])) / (high[1] - low[1]);
  }

  key(event) {
    const steps = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1, PageUp: 10, PageDown: -10 }[event.key];
    const last = this.stops.length - 1;
    if (event.key === "Home" || event.key === "End") {
      event.preventDefault();
      this.set(String(this.stops[event.key === "Home" ? 0 : last][1]));
    } else if (steps) {
      event.preventDefault();
      const now = this.value === "" ? this.nearest(Number(this.range.value))[1] : Number(this.value);
      const up = this.stops.findIndex((stop) => stop[1] > now);
      const above = up < 0 ? last + 1 : up; // the first stop above; the one before may be the value itself
      const own = above > 0 && this.stops[above - 1][1] === now ? above - 1 : above;
      const to = steps > 0 ? above + steps - 1 : own + steps;
      this.set(String(this.stops[Math.min(Math.max(to, 0), last)][1]));
    }
  }

  set(value) {
    if (this.field.value !== value) this.field.value = value;
    this.bound.turnTo(this);
    this.show();
    moved();
  }

  show() {
    const away = this.value === "";
    this.root.classList.toggle("moved", this.moved);
    this.root.classList.toggle("away", away);
    this.root.querySelector("[data-do=reset]").hidden = !this.moved;
    this.root.querySelector("[data-do=away]").hidden = away;
    part("was", this.root).hidden = !this.moved;
    const place = away ? (this.kind === "min" || this.kind === "bottom" ? 0 : 1) : this.placeOf(Number(this.value));
    if (Math.abs(Number(this.range.value) - place) > 1e-9) this.range.value = place;
    this.range.setAttribute("aria-valuetext", away ? "no bound" : this.value);
  }
}

class Bound {
  constructor(root) {
    this.root = root;
    this.id = root.dataset.bound;
    this.slides = [...root.querySelectorAll(".slide")].map((slide) => new Slide(slide, this));
    this.turned = this.slides[0] || null; // the side whose rows and curve are shown
    this.shown = this.curved = null; // the questions that these answer
    for (const slide of this.slides) slides.set(slide.id, slide);
  }

  turnTo(slide) {
    if (this.turned === slide) return;
    this.turned = slide;
    rest();
  }
}

function changes() {
  return [...slides.values()].filter((slide) => slide.moved).map((slide) => `${slide.id}=${slide.value}`);
}

function query(...more) {
  const asked = new URLSearchParams();
  for (const change of changes()) asked.append("c", change);
  for (const [name, value] of more) asked.append(name, value);
  return String(asked);
}

// Questions

async function get(address, signal) {
  for (;;) {
    const answer = await fetch(address, { signal });
    const found = await answer.json();
    if (answer.ok) return found;
    if (answer.status !== 503) throw new Error(found.error);
    await new Promise((done) => setTimeout(done, 500)); // rows are being read
  }
}

function moved() {
  looking?.abort();
  ask();
  rest();
}

async function ask() {
  again = asking;
  if (asking) return;
  asking = true;
  try {
    const asked = query(...[...seen].map((bound) => ["of", bound.id]));
    show(await get(`${base}.json?${asked}`));
    tell("");
  } catch (error) {
    tell(error.message);
  } finally {
    asking = false;
    if (again) ask();
  }
}

function tell(words) {
  part("told").textContent = words;
  part("told").hidden = !words;
}

function rest() {
  clearTimeout(resting);
  resting = setTimeout(look, REST_MS);
}

// What takes longer, once nothing moves: rows beside the bounds on the screen, curves, rows that come and go.
async function look() {
  const asked = query();
  const address = asked ? `?${asked}` : location.pathname;
  if (location.search !== (asked ? `?${asked}` : "")) history.replaceState(null, "", address + location.hash);
  looking?.abort();
  looking = new AbortController();
  const { signal } = looking;
  try {
    for (const bound of [...seen]) await lookBeside(bound, signal);
    await lookChanged(asked, signal);
    await new Promise((done) => setTimeout(done, LONG_REST_MS));
    signal.throwIfAborted();
    for (const bound of [...seen]) await lookCurve(bound, signal);
  } catch (error) {
    if (error.name !== "AbortError") tell(error.message);
  }
}

async function lookBeside(bound, signal) {
  if (!bound.turned) return;
  const asked = query(["of", bound.turned.id]);
  if (bound.shown === asked) return;
  const found = await get(`${base}/beside.json?${asked}`, signal);
  bound.shown = asked;
  showBeside(bound, found);
}

async function lookCurve(bound, signal) {
  if (!bound.turned) return;
  const asked = query(["of", bound.turned.id]);
  if (bound.curved === asked) return;
  const found = await get(`${base}/curve.json?${asked}`, signal);
  bound.curved = asked;
  part("curve", bound.root).hidden = false;
  part("curve-of", bound.root).textContent = `by ${bound.turned.kind}`;
  part("curve-chart", bound.root).replaceChildren(...drawing(found.curve));
}

let changedShown = "";
async function lookChanged(asked, signal) {
  if (changedShown === asked) return;
  const found = asked ? await get(`${base}/changed.json?${asked}`, signal) : null;
  changedShown = asked;
  showChanged(found);
}

// Answers

function show(found) {
  showKept(found);
  for (const told of found.bounds) {
    const bound = bounds.get(told.id);
    part("dropped", bound.root).textContent = number(told.dropped.now);
    part("dropped-cut", bound.root).hidden = told.dropped.now === told.dropped.in_cut;
    const tally = found.tallies[told.id];
    if (!tally) continue;
    part("here", bound.root).textContent = span(...tally.here);
    for (const [id, fails] of Object.entries(tally.fails)) {
      bound.root.querySelector(`[data-fails="${CSS.escape(id)}"]`).textContent = span(...fails);
    }
    const chart = part("chart", bound.root);
    if (chart) chart.replaceChildren(...drawing(found.charts[told.id]));
  }
  const words = found.moved.map((one) => `${one.bound} ${one.from} → ${one.to === null ? "no bound" : one.to}`);
  part("moved-words").textContent = words.length ? `${words.join(", ")}.` : "Nothing is moved yet: this is the recipe of the cut.";
  showSave();
}

// A chart as the server draws it, text in it escaped. It is read as a document of its own, in which nothing runs.
function drawing(markup) {
  if (!markup) return [];
  const found = new DOMParser().parseFromString(markup, "text/html").querySelector("svg");
  return found ? [document.adoptNode(found)] : [];
}

function span(least, most) {
  if (most === null) return `${number(least)} or more`;
  return most === least ? number(least) : `${number(least)} to ${number(most)}`;
}

function bounded(kept) {
  if (kept.at_most === null) return `At least ${number(kept.at_least)}`;
  return kept.at_most === kept.at_least ? "About this many" : `Between ${number(kept.at_least)} and ${number(kept.at_most)}`;
}

function showKept(found) {
  const { kept, exact, why } = found;
  const nodes = kept.documents_at_least !== null;
  part("kept").textContent = span(kept.at_least, kept.at_most);
  part("unit").textContent = nodes ? `nodes kept now, of ${span(kept.documents_at_least, kept.documents_at_most)} documents` : "rows kept now";
  const delta = part("delta");
  const by = kept.at_least - kept.in_cut;
  delta.hidden = !by || kept.at_most !== kept.at_least;
  delta.textContent = `${by > 0 ? "+" : "−"}${number(Math.abs(by))}`;
  delta.className = `badge ${by > 0 ? "more" : "less"}`;
  part("why").textContent = exact ? "Exact: all that this needs was measured." : `${bounded(kept)}: ${why}.`;
  part("why").classList.toggle("inexact", !exact);
  form.classList.toggle("perhaps", !exact);
  part("legend-kept").textContent = exact ? "kept in the end" : "kept, or perhaps kept";
  const width = (count) => (1000 * Math.min(count, kept.of)) / Math.max(kept.of, 1);
  part("meter").setAttribute("width", width(kept.at_least));
  part("meter-most").setAttribute("width", width(kept.at_most === null ? kept.of : kept.at_most));
  part("meter-cut").setAttribute("x", Math.max(width(kept.in_cut) - 1.5, 0));
}

const HEADINGS = { min: ["just below", "from there up"], max: ["just above", "up to there"], top: ["just not among", "just among"], bottom: ["just not among", "just among"] };

function showBeside(bound, found) {
  const slide = bound.turned;
  const [fails, holds] = SIDES[slide.kind];
  const [failing, holding] = HEADINGS[slide.kind];
  const where = `${slide.kind} ${slide.value}`;
  const groups = [
    group(`Dropped here: ${failing} ${where}`, "dropped", found[fails]),
    group(`Pass here: ${holding}, ${where}`, "kept", found[holds]),
  ];
  part("near", bound.root).replaceChildren(...groups.filter(Boolean));
}

function group(heading, tone, rows) {
  if (!rows) return null;
  const tiles = rows.map((row) => tile(cut, { ...row, fate: tone, why: null }));
  return element(
    "section",
    { class: `near ${tone}` },
    element("h3", { class: "toned" }, heading),
    tiles.length ? element("div", { class: "tiles small-tiles" }, ...tiles) : element("p", { class: "quiet small" }, "No row."),
  );
}

function showChanged(found) {
  part("changes").hidden = !found;
  if (!found) return;
  const side = (name, heading, tone) =>
    element(
      "section",
      { class: `stack ${tone}` },
      element("h3", { class: "toned" }, `${heading}: ${number(found[name].rows)}`),
      found[name].some.length
        ? element("div", { class: "tiles small-tiles" }, ...found[name].some.map((row) => tile(cut, { ...row, fate: tone })))
        : element("p", { class: "quiet small" }, "No row for certain."),
    );
  part("changed").replaceChildren(side("come", "Come in", "kept"), side("go", "Go out", "dropped"));
}

// The recipe

const save = document.querySelector("#save-form");

function showSave() {
  for (const old of save.querySelectorAll("input[type=hidden]")) old.remove();
  for (const change of changes()) save.append(element("input", { type: "hidden", name: "c", value: change }));
  const command = part("command");
  command.textContent = `cupel run ${save.elements.name.value || "NAME"}.yaml --out ${command.dataset.corpus}`;
}

// Begin

for (const root of form.querySelectorAll(".bound")) {
  const bound = new Bound(root);
  bounds.set(bound.id, bound);
}
const watcher = new IntersectionObserver(
  (entries) => {
    for (const entry of entries) {
      const bound = bounds.get(entry.target.dataset.bound);
      if (entry.isIntersecting) seen.add(bound);
      else seen.delete(bound);
    }
    ask();
    rest();
  },
  { rootMargin: "100px" },
);
for (const bound of bounds.values()) watcher.observe(bound.root);
form.addEventListener("submit", (event) => event.preventDefault());
save.elements.name.addEventListener("input", showSave);
document.querySelector("[data-do=reset-all]").addEventListener("click", (event) => {
  event.preventDefault();
  for (const slide of slides.values()) {
    slide.field.value = slide.initial;
    slide.show();
  }
  moved();
});
window.addEventListener("pagehide", () => looking?.abort());
ask();
