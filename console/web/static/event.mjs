import { addGround, addLandslides, createMap, showRaster, told, whenReady } from "./map.mjs";

const look = told();
const swipe = document.getElementById("swipe");
const sides = { left: document.getElementById("left"), right: document.getElementById("right") };

// News: the status is fetched anew, and the rest of the page says that it is older.
const news = new EventSource(`/events/${look.event}/live`);
news.addEventListener("changed", () => {
  window.htmx.trigger("#status", "news");
  document.getElementById("news").hidden = false;
});
news.addEventListener("gone", () => {
  document.getElementById("gone").hidden = false;
  news.close();
});
news.addEventListener("stage", ({ data }) => {
  const shown = document.getElementById("stage");
  if (!shown) return;
  const { stage, percent } = data ? JSON.parse(data) : {};
  shown.textContent = data ? `${stage} · ${percent} %` : "";
});
window.addEventListener("pagehide", () => news.close());

// The right map lies over the left one and is cut off where the slider stands; the left one is made
// when somebody first moves the slider, and each follows the other.
async function create(id, select) {
  const map = createMap(id, look);
  if (!map) return null;
  await whenReady(map);
  const bounds = await addGround(map, look.event, look.version);
  addLandslides(map, look.event, look.version, look.words);
  const draw = () => showRaster(map, look.event, select.value, bounds, look.rasters[select.value], look.places[select.value]);
  select.addEventListener("change", draw);
  draw();
  return map;
}

const right = await create("map", sides.right);
let left = null;

function divide() {
  const share = Number(swipe.value);
  right.getContainer().style.clipPath = `inset(0 0 0 ${share}%)`;
  document.getElementById("divider").style.left = `${share}%`;
  document.getElementById("divider").hidden = share === 0 || share === 100;
}

async function compare() {
  if (!left) {
    left = create("left-map", sides.left);
    const map = await left;
    map.jumpTo({ center: right.getCenter(), zoom: right.getZoom() });
    let following = false;
    const follow = (one, other) => one.on("move", () => {
      if (following) return;
      following = true;
      other.jumpTo({ center: one.getCenter(), zoom: one.getZoom() });
      following = false;
    });
    follow(map, right);
    follow(right, map);
  }
  await left;
  divide();
}

if (right) {
  swipe.addEventListener("input", compare);
  sides.left.addEventListener("change", compare);
  document.getElementById("divider").hidden = true;
  document.body.dataset.map = "ready";
}
