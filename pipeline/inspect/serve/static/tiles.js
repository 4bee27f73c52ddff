// Elements made of plain data: text only ever becomes text, never markup.

const SVG = "http://www.w3.org/2000/svg";

// An element with attributes and children; null children are left out, strings become text.
export function element(name, attributes = {}, ...children) {
  return filled(document.createElement(name), attributes, children);
}

export function drawn(name, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, name), attributes, children);
}

function filled(made, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

const part = encodeURIComponent;

export function rowAddress(cut, row) {
  return `/cut/${part(cut)}/row/${row.space}/${row.shard}/${row.row}`;
}

export function pictureAddress(cut, row, side) {
  return `/cut/${part(cut)}/picture/${row.space}/${row.shard}/${row.row}?side=${side}`;
}

// A picture as the server lets it be shown: show, blur or hide; null where the row has none.
export function picture(cut, row, side) {
  if (!row.picture) return null;
  const frame = element("div", { class: row.picture === "blur" ? "picture blur" : "picture" });
  if (row.picture === "hide") {
    frame.append(element("p", { class: "none" }, "Not shown: it is on a blocklist."));
    return frame;
  }
  const image = element("img", { alt: (row.words || "").slice(0, 160), decoding: "async" });
  image.addEventListener("error", () => image.replaceWith(element("p", { class: "none" }, "No picture to be shown.")));
  image.src = pictureAddress(cut, row, side);
  frame.append(image);
  if (row.picture === "blur") {
    const button = element("button", { type: "button", class: "reveal", "aria-pressed": "false" }, "Show");
    button.addEventListener("click", () => button.setAttribute("aria-pressed", String(frame.classList.toggle("revealed"))));
    frame.append(button);
  }
  return frame;
}

// A row as lists show it; `row` is as shown.py gives it.
export function tile(cut, row) {
  const values = row.values.map(([name, value]) => [element("dt", {}, name), element("dd", {}, value)]);
  return element(
    "article",
    { class: `tile ${row.fate}` },
    picture(cut, row, 256),
    element(
      "div",
      { class: "body" },
      element("a", { class: row.picture ? "caption" : "caption long", href: rowAddress(cut, row) }, element("bdi", {}, row.words)),
      row.why ? element("p", { class: "tiny" }, element("span", { class: "toned dropped" }, row.why)) : null,
      values.length ? element("dl", {}, ...values.flat()) : null,
    ),
  );
}
