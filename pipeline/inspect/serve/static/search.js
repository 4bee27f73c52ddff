// A picture to search by is sent as it is; the answer names the page of what was found.

const form = document.querySelector("#search");
const told = document.querySelector("#told");
const file = document.querySelector("#picture");
const MOST_BYTES = 10 * 1024 * 1024;

function tell(words) {
  told.textContent = words;
  told.hidden = !words;
}

async function send(picture) {
  if (picture.size > MOST_BYTES) {
    tell("That picture has more than 10 MiB.");
    return;
  }
  tell("");
  document.querySelector("#picture-label").setAttribute("aria-busy", "true");
  try {
    const fate = encodeURIComponent(form.elements.fate.value);
    const answer = await fetch(`${location.pathname}.json?fate=${fate}`, {
      method: "POST",
      headers: { "Content-Type": "application/octet-stream", "X-Cupel": "search" },
      body: picture,
    });
    const found = await answer.json();
    if (answer.ok) location.search = found.query;
    else tell(found.error);
  } catch {
    tell("The server does not answer.");
  } finally {
    document.querySelector("#picture-label").removeAttribute("aria-busy");
  }
}

if (file) {
  document.querySelector("#picture-label").hidden = false;
  file.addEventListener("change", () => file.files.length && send(file.files[0]));
}
