import { boundsOf, createMap, told, whenReady } from "./map.mjs";
import { createDrawing, drawn } from "./drawing.mjs";

const look = told();
const area = document.getElementById("aoi");
const map = createMap("map", look, { center: [10, 25], zoom: 1 });

function given() {
  try {
    const geometry = JSON.parse(area.value);
    return geometry.coordinates ? geometry : null;
  } catch {
    return null;
  }
}

if (map) {
  await whenReady(map);
  const draw = createDrawing(map);
  const keep = () => {
    const parts = drawn(draw, "Polygon").map(({ coordinates }) => coordinates);
    area.value = parts.length ? JSON.stringify({ type: "MultiPolygon", coordinates: parts }) : "";
  };
  draw.on("finish", keep);
  document.getElementById("draw").addEventListener("click", () => draw.setMode("polygon"));
  document.getElementById("clear").addEventListener("click", () => {
    draw.clear();
    keep();
  });
  // What was described before, or where the event is, is looked at first.
  if (given()) map.fitBounds(boundsOf(given()), { padding: 40, animate: false });
  const form = area.form.elements;
  for (const name of ["longitude", "latitude"]) {
    form[name].addEventListener("change", () => {
      const [lng, lat] = [Number(form.longitude.value), Number(form.latitude.value)];
      if (form.longitude.value && form.latitude.value && Math.abs(lat) <= 85) map.jumpTo({ center: [lng, lat], zoom: 9 });
    });
  }
  document.body.dataset.map = "ready";
}
