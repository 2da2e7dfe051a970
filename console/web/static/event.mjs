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

const right = createMap("map", look);
const left = right && createMap("left-map", look);
if (left) {
  await Promise.all([whenReady(left), whenReady(right)]);
  for (const map of [left, right]) {
    await addGround(map, look.event, look.version);
    addLandslides(map, look.inventory, look.words);
  }
  const draw = (map, select) => showRaster(map, look.event, select.value, look.rasters[select.value]);
  sides.left.addEventListener("change", () => draw(left, sides.left));
  sides.right.addEventListener("change", () => draw(right, sides.right));
  draw(left, sides.left);
  draw(right, sides.right);

  // The right map lies over the left one and is cut off where the slider stands; each follows the other.
  const divide = () => {
    const share = Number(swipe.value);
    right.getContainer().style.clipPath = `inset(0 0 0 ${share}%)`;
    document.getElementById("divider").style.left = `${share}%`;
    document.getElementById("divider").hidden = share === 0 || share === 100;
  };
  swipe.addEventListener("input", divide);
  divide();
  let following = false;
  const follow = (one, other) => one.on("move", () => {
    if (following) return;
    following = true;
    other.jumpTo({ center: one.getCenter(), zoom: one.getZoom() });
    following = false;
  });
  follow(left, right);
  follow(right, left);
  document.body.dataset.map = "ready";
}
