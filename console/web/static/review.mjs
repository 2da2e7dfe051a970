import { addGround, addLandslides, boundsOf, createMap, element, emptySource, post, setData, showRaster, told, whenReady } from "./map.mjs";
import { createDrawing, drawn, edit } from "./drawing.mjs";

const look = told();
const { words } = look;
const base = `/events/${look.event}/review`;
const at = `?version=${look.version}`;
const part = (id) => document.getElementById(id);
let queue = [], skipped = new Set(), current = null, seen = 0, mine = [], finish = null, draw = null, map = null;

async function load() {
  const answer = await (await fetch(`${base}/queue${at}`)).json();
  queue = answer.queue;
  seen = Math.max(seen, answer.progress.newest);
  progress(answer.progress);
  list();
}

function progress(state) {
  seen = Math.max(seen, state.newest);
  part("progress").value = state.share;
  part("share").textContent = `${Math.floor(100 * state.share)} %`;
  part("left-over").textContent = state.unreviewed ? `(${state.unreviewed.toLocaleString("en")})` : "";
}

function list() {
  part("queue").replaceChildren(...queue.slice(0, 50).map((one) => {
    const row = element("li");
    const button = element("button", undefined, { type: "button" });
    if (one.number === current?.number) button.setAttribute("aria-current", "true");
    button.append(element("span", `${words.landslide} ${one.number}`),
      element("span", `${one.confidence === null ? "–" : one.confidence.toFixed(2)} · ${Math.round(one.area_m2).toLocaleString("en")} m²`));
    button.addEventListener("click", () => show(one.number));
    row.append(button);
    return row;
  }));
}

async function show(number) {
  discard();
  // What others do while the answer is on its way is not in it.
  const known = seen;
  const answer = await fetch(`${base}/landslides/${number}${at}`);
  if (!answer.ok) return say((await answer.json()).detail, true);
  current = await answer.json();
  current.seen = Math.max(current.review_id, known);
  describe();
  list();
  if (!map) return;
  setData(map, "current", current.outline);
  map.fitBounds(boundsOf(current.outline), { padding: 120, maxZoom: 16.5, animate: false });
}

function describe() {
  const box = part("landslide");
  box.replaceChildren(element("h2", `${words.landslide} ${current.number}`));
  const facts = element("dl", undefined, { class: "measures" });
  const said = {
    confidence: current.confidence?.toFixed(2),
    area_m2: `${Math.round(current.area_m2).toLocaleString("en")} m²`,
    slope_mean_deg: current.slope_mean_deg === null ? null : `${current.slope_mean_deg.toFixed(0)}°`,
    length_m: current.length_m === null ? null : `${Math.round(current.length_m)} m`,
    width_m: current.width_m === null ? null : `${Math.round(current.width_m)} m`,
    drop_m: current.drop_m === null ? null : `${Math.round(current.drop_m)} m`,
    acquired_at: current.acquired_at?.slice(0, 10),
    scene_id: current.scene_id,
  };
  for (const [name, value] of Object.entries(said)) {
    if (value != null) facts.append(element("dt", words.facts[name]), element("dd", value));
  }
  const touches = Object.entries(words.touches).filter(([name]) => current[name]).map(([, text]) => text);
  box.append(element("p", [words.state[current.review_state], ...touches].join(" · ")), facts);
  if (current.log.length) {
    const log = element("ul", undefined, { class: "history" });
    for (const one of current.log) log.append(element("li", `${one.at} ${one.reviewer}: ${one.action} ${one.comment}`));
    box.append(element("h3", words.log), log);
  }
}

function say(text, refused = false) {
  part("said").textContent = text;
  part("said").className = refused ? "refused" : "";
}

// After an act the next in the queue is shown; a conflict shows the landslide as it is by now.
async function act(body) {
  const comment = part("comment").value;
  const answer = await post(`${base}${at}`, { comment, seen: current?.seen ?? seen, ...body }).catch(() => null);
  if (!answer) return say(`${words.failed}: ${words.unreachable}`, true);
  const told_ = await answer.json();
  if (answer.status === 409) {
    const number = current.number;
    await load();
    await show(number);
    return say(`${words.conflict}: ${told_.detail}`, true);
  }
  if (!answer.ok) return say(`${words.failed}: ${told_.detail}`, true);
  part("comment").value = "";
  discard();
  if (body.action === "undo") mine.pop();
  else mine.push(told_.review);
  refresh();
  await load();
  const numbers = told_.numbers.slice(0, 6).join(", ");
  if (body.action === "undo") await show(told_.numbers[0]);
  else await next();
  say(`${numbers}: ${words.saved[body.action]}`);
  progress(told_.progress);
}

// The same address again makes the map ask for its tiles anew.
function refresh() {
  const source = map?.getSource("landslides");
  source?.setTiles(source.tiles);
}

async function next() {
  if (current) skipped.add(current.number);
  const waiting = queue.find((one) => !skipped.has(one.number)) ?? queue[0];
  if (!queue.some((one) => !skipped.has(one.number))) skipped.clear();
  if (waiting) return show(waiting.number);
  current = null;
  if (map) setData(map, "current", null);
  part("landslide").replaceChildren(element("p", words.done, { class: "empty" }));
}

function begin(hint, mode, done) {
  if (!draw) return;
  discard();
  part("hint").textContent = hint;
  part("drawing").hidden = false;
  if (mode === "edit") {
    const edited = edit(draw, current.outline);
    finish = () => done(edited());
    setData(map, "current", null);
  } else {
    draw.setMode(mode);
    finish = () => {
      const type = mode === "polygon" ? "Polygon" : "LineString";
      const [first] = drawn(draw, type);
      if (first) done(first);
    };
  }
}

function discard() {
  finish = null;
  part("hint").textContent = "";
  part("drawing").hidden = true;
  if (!draw) return;
  draw.clear();
  draw.setMode("static");
  if (current) setData(map, "current", current.outline);
}

const KEYS = {
  c: () => current && act({ action: "confirm", number: current.number }),
  r: () => current && act({ action: "reject", number: current.number }),
  e: () => current && begin(words.editing, "edit", (outline) => act({ action: "edit", number: current.number, outline })),
  s: () => current && begin(words.splitting, "linestring", (outline) => act({ action: "split", number: current.number, outline })),
  a: () => begin(words.adding, "polygon", (outline) => act({ action: "add", outline })),
  n: () => next(),
  u: () => (mine.length ? act({ action: "undo", review: mine.at(-1) }) : say(words.nothing_to_undo)),
};

document.addEventListener("keydown", (event) => {
  const typing = event.target.matches("input, textarea, select");
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "Escape") return discard();
  if (event.key === "Enter" && finish && !typing && !event.target.matches("button, a")) return finish();
  if (!typing && KEYS[event.key]) {
    event.preventDefault();
    KEYS[event.key]();
  }
});
document.querySelectorAll("[data-key]").forEach((button) => button.addEventListener("click", () => KEYS[button.dataset.key]()));
part("save").addEventListener("click", () => finish?.());
part("discard").addEventListener("click", discard);

// What others do meanwhile takes their landslides out of the queue.
const news = new EventSource(`/events/${look.event}/live`);
news.addEventListener("changed", async () => {
  await load();
  refresh();
});
window.addEventListener("pagehide", () => news.close());

await load();
map = createMap("map", look);
if (map) {
  await whenReady(map);
  const bounds = await addGround(map, look.event, look.version);
  addLandslides(map, look.event, look.version, words);
  emptySource(map, "current");
  map.addLayer({ id: "current-halo", type: "line", source: "current", paint: { "line-color": "#ffffff", "line-width": 5 } });
  map.addLayer({ id: "current", type: "line", source: "current", paint: { "line-color": "#0072b2", "line-width": 2.5 } });
  const raster = part("raster");
  raster.addEventListener("change", () => showRaster(map, look.event, raster.value, bounds));
  showRaster(map, look.event, raster.value, bounds);
  draw = createDrawing(map);
  draw.setMode("static");
}
await next();
document.body.dataset.map = "ready";
