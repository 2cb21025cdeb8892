// The page that answers: pictures are dropped, pasted, chosen or photographed; each becomes a card with names and bars,
// and a click shows where what speaks for a class stands. All that others wrote (names of files and classes) is set as
// text.

const main = document.getElementById("serve");
const settings = JSON.parse(main.dataset.settings);
const answers = document.getElementById("answers");
const status = document.getElementById("status");
const drop = document.getElementById("drop");

const AT_ONCE = 4; // requests; the server has room for others, too
const TRIES = 8; // while the server is busy
const NO_SERVER = "The server cannot be reached: is the command still running?";
const NO_FILE = "The file cannot be read: it is a folder, or was changed or moved since it was given.";

const waiting = [];
let underWay = 0;
let asked = 0;
let answered = 0;
let failed = 0;
let leftOut = [];

/** Ask about every file that is a picture by its type, or by nothing that speaks against it. */
function ask(files) {
  const isPicture = (file) => file.type === "" || file.type.startsWith("image/");
  const pictures = [...files].filter(isPicture);
  leftOut = [...files].filter((file) => !isPicture(file));
  if (files.length > 0 && pictures.length === 0) {
    status.textContent = "That is no picture.";
    return;
  }
  const cards = pictures.map(newCard);
  answers.prepend(...cards);
  pictures.forEach((file, at) => waiting.push([file, cards[at]]));
  asked += pictures.length;
  tell();
  goOn();
}

function tell() {
  const besides = leftOut.length === 1 ? ` ${leftOut[0].name} is no picture, and was left out.`
    : leftOut.length > 1 ? ` ${leftOut.length} files are no pictures, and were left out: such as ${leftOut[0].name}.` : "";
  const without = failed === 0 ? "" : failed === 1 ? " 1 could not be: its card says why."
    : ` ${failed} could not be: their cards say why.`;
  if (asked === answered + failed) {
    status.textContent = (answered === 1 ? "1 picture is answered." : `${answered} pictures are answered.`) + without + besides;
  } else {
    status.textContent = `${answered} of ${asked} pictures are answered…${without}${besides}`;
  }
}

function goOn() {
  while (underWay < AT_ONCE && waiting.length > 0) {
    const [file, card] = waiting.shift();
    underWay += 1;
    predict(file, card).then((isAnswered) => {
      underWay -= 1;
      answered += isAnswered ? 1 : 0;
      failed += isAnswered ? 0 : 1;
      tell();
      goOn();
    });
  }
}

function newCard(file) {
  const card = document.getElementById("answer").content.cloneNode(true).querySelector("article");
  const name = file.name || "Pasted picture";
  card.querySelector("h3 bdi").textContent = name;
  const image = card.querySelector("img");
  image.alt = name;
  image.addEventListener("error", () => showUnshown(card, true));
  image.src = card.plain = URL.createObjectURL(file);
  return card;
}

function showUnshown(card, unshown) {
  card.querySelector("img").hidden = unshown;
  card.querySelector(".unshown").hidden = !unshown;
}

/** Fill a card; whether with an answer, and not with why there is none. */
async function predict(file, card) {
  if (file.size === 0) {
    return fail(card, "The file is empty.");
  }
  if (file.size > settings.most_bytes) {
    return fail(card, `It has more than ${settings.most_bytes.toLocaleString("en")} bytes.`);
  }
  try {
    const answer = await post(`/api/predict?top_k=${settings.top_k}`, file, card);
    const found = await answer.json();
    if (!answer.ok) {
      return fail(card, found.error);
    }
    show(file, card, found.pictures[0]);
    return true;
  } catch {
    return fail(card, await whyUnasked(file));
  }
}

/** Why a request did not come through: the browser says the same of a server that is gone and of a file that is. */
async function whyUnasked(file) {
  try {
    await file.arrayBuffer();
    return NO_SERVER;
  } catch {
    return NO_FILE;
  }
}

/** POST a file's bytes; while the server is busy, again when it says. */
async function post(path, file, card) {
  for (let tried = 1; ; tried += 1) {
    const answer = await fetch(path, {
      method: "POST",
      body: file,
      headers: { "content-type": file.type || "application/octet-stream" },
    });
    if (answer.status !== 503 || tried === TRIES) {
      return answer;
    }
    card.querySelector(".sentence").textContent = "Many ask at once; waiting…";
    const seconds = Number(answer.headers.get("retry-after")) || 1;
    await new Promise((resolve) => setTimeout(resolve, 1000 * seconds * (0.5 + Math.random())));
  }
}

function fail(card, sentence) {
  card.classList.add("failed");
  card.querySelector(".sentence").textContent = sentence;
  return false;
}

function show(file, card, picture) {
  card.querySelector(".sentence").hidden = true;
  const remark = card.querySelector(".remark");
  const remarks = [picture.sure ? "" : "Not sure", picture.like_no_class ? "Like none of the classes" : ""];
  remark.textContent = remarks.filter(Boolean).join(". ");
  remark.hidden = remark.textContent === "";
  const bars = card.querySelector(".bars");
  for (const guess of picture.guesses) {
    const bar = document.getElementById("bar").content.cloneNode(true);
    bar.querySelector("bdi").textContent = guess.name;
    bar.querySelector(".share").textContent = percent(guess.probability);
    bar.querySelector(".filled").style.width = `${100 * guess.probability}%`;
    const button = bar.querySelector("button");
    button.title = `Where is what speaks for ${guess.name}?`;
    button.addEventListener("click", () => turn(file, card, button, guess));
    bars.append(bar);
  }
  const whole = card.querySelector(".picture");
  whole.disabled = false;
  whole.addEventListener("click", () => {
    const pressed = bars.querySelector('[aria-pressed="true"]') ?? bars.querySelector("button");
    pressed.click();
  });
  hint(card, "Show the heat map");
}

function percent(share) {
  return `${(100 * share).toFixed(1)}%`;
}

function hint(card, text) {
  card.querySelector(".hint").textContent = text;
}

/** Show the map of one class in the picture's place, or the picture again. */
async function turn(file, card, button, guess) {
  const image = card.querySelector("img");
  const wasOn = button.getAttribute("aria-pressed") === "true";
  for (const other of card.querySelectorAll("[aria-pressed]")) {
    other.setAttribute("aria-pressed", "false");
  }
  card.wanted = wasOn ? null : guess.label;
  if (wasOn) {
    showPlain(card, "Show the heat map");
    return;
  }
  button.setAttribute("aria-pressed", "true");
  card.querySelector(".picture").setAttribute("aria-pressed", "true");
  hint(card, "Drawing…");
  const map = await mapOf(file, card, guess);
  if (card.wanted !== guess.label) {
    return; // another was clicked meanwhile
  }
  if (map.url === undefined) {
    showPlain(card, map.error); // the map of another class would pass for this one's
    return;
  }
  const text = map.empty ? `Nothing here speaks for ${guess.name}` : `What speaks for ${guess.name}`;
  swap(card, image, map.url, map.empty ? text : `${text}: the brighter, the more`);
  card.querySelector(".cut").hidden = false;
  hint(card, text);
}

/** Show the picture itself, with no class chosen. */
function showPlain(card, text) {
  for (const pressed of card.querySelectorAll("[aria-pressed]")) {
    pressed.setAttribute("aria-pressed", "false");
  }
  card.wanted = null;
  swap(card, card.querySelector("img"), card.plain, card.querySelector("h3").textContent);
  card.querySelector(".cut").hidden = true;
  hint(card, text);
}

function swap(card, image, url, text) {
  showUnshown(card, false);
  image.src = url;
  image.alt = text;
}

/** The map as a picture's address, drawn once; or why there is none. */
async function mapOf(file, card, guess) {
  card.maps ??= new Map();
  const known = card.maps.get(guess.label);
  if (known !== undefined) {
    return known;
  }
  try {
    const answer = await post(`/api/explain?class=${encodeURIComponent(guess.label)}`, file, card);
    if (!answer.ok) {
      return { error: (await answer.json()).error };
    }
    const map = { url: URL.createObjectURL(await answer.blob()), empty: answer.headers.get("heat-map") === "empty" };
    card.maps.set(guess.label, map);
    return map;
  } catch {
    return { error: await whyUnasked(file) };
  }
}

for (const [button, input] of [["choose", "files"], ["photograph", "camera"]]) {
  const chooser = document.getElementById(input);
  document.getElementById(button).addEventListener("click", () => chooser.click());
  chooser.addEventListener("change", () => {
    ask(chooser.files);
    chooser.value = "";
  });
}

document.addEventListener("paste", (event) => {
  if (event.clipboardData.files.length > 0) {
    event.preventDefault();
    ask(event.clipboardData.files);
  }
});

// A picture that is dropped beside the frame is meant for it, too: the browser would leave the page for it.
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  drop.classList.add("over");
});
document.addEventListener("dragleave", (event) => {
  if (event.relatedTarget === null) {
    drop.classList.remove("over");
  }
});
document.addEventListener("drop", (event) => {
  event.preventDefault();
  drop.classList.remove("over");
  ask(event.dataTransfer.files);
});
