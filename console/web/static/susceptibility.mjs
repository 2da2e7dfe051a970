import { addGround, addLandslides, createMap, element, maplibre, showRaster, told, whenReady } from "./map.mjs";

const look = told();
const { words } = look;
const choice = document.getElementById("layer");
const place = document.getElementById("place");
const answer = document.getElementById("why");
const QUERIES = {
  susceptibility: "unscale=true&rescale=0,1&colormap_name=ylorbr",
  susceptibility_uncertainty: "unscale=true&rescale=0,0.5&colormap_name=cividis",
  susceptibility_applicability: `bidx=2&colormap=${encodeURIComponent(JSON.stringify({ 0: "#d55e00", 1: "#e6f0f7" }))}`,
  susceptibility_classes: `colormap=${encodeURIComponent(JSON.stringify(look.classes))}`,
};

async function explain(lon, lat) {
  place.elements.lon.value = lon.toFixed(6);
  place.elements.lat.value = lat.toFixed(6);
  answer.textContent = words.asking;
  const version = look.version ? `&version=${look.version}` : "";
  const found = await fetch(`/events/${look.event}/susceptibility/why?lon=${lon}&lat=${lat}${version}`);
  const why = await found.json();
  answer.replaceChildren();
  if (!found.ok) {
    answer.append(element("p", why.detail, { class: "note" }));
    return;
  }
  answer.append(element("p", `${words.why_average} ${why.average.toFixed(2)} → ${words.why_here} ${why.mapped.toFixed(2)}`));
  if (why.applies === false) answer.append(element("p", words.outside, { class: "note" }));
  const gap = Math.abs(why.mapped - why.fitted);
  if (gap > 0.01) answer.append(element("p", words.reviewed_since.replace("{gap}", gap.toFixed(2)), { class: "note calm" }));
  const table = element("table", undefined, { class: "why" });
  const head = element("tr");
  for (const name of [words.factor, words.value, words.adds]) head.append(element("th", name, { scope: "col" }));
  const top = element("thead");
  top.append(head);
  const body = element("tbody");
  for (const part of why.parts) {
    const row = element("tr");
    const value = part.named ?? `${Number(part.value.toPrecision(3))} ${part.unit === "1" ? "" : part.unit}`;
    row.append(element("th", part.factor.replaceAll("_", " "), { scope: "row" }), element("td", value),
      element("td", `${part.added < 0 ? "−" : "+"}${Math.abs(part.added).toFixed(3)}`));
    body.append(row);
  }
  table.append(top, body);
  answer.append(table);
}

place.addEventListener("submit", (event) => {
  event.preventDefault();
  explain(Number(place.elements.lon.value), Number(place.elements.lat.value));
});

const map = createMap("map", look);
if (map) {
  await whenReady(map);
  const bounds = await addGround(map, look.event, look.version);
  addLandslides(map, look.event, look.version, words, { filled: false });
  const draw = () => {
    showRaster(map, look.event, choice.value, bounds, QUERIES[choice.value], look.rasters[choice.value]);
    for (const legend of document.querySelectorAll(".legend[data-layer]")) legend.hidden = legend.dataset.layer !== choice.value;
  };
  choice.addEventListener("change", draw);
  draw();
  document.getElementById("landslides").addEventListener("change", ({ target }) => {
    for (const layer of ["squares", "landslide-halo", "landslide-edges"]) {
      if (map.getLayer(layer)) map.setLayoutProperty(layer, "visibility", target.checked ? "visible" : "none");
    }
  });
  const pin = new maplibre.Marker({ color: "#0072b2" });
  map.on("click", ({ lngLat }) => {
    pin.setLngLat(lngLat).addTo(map);
    explain(lngLat.lng, lngLat.lat);
  });
  map.getCanvas().style.cursor = "crosshair";
  document.body.dataset.map = "ready";
}
