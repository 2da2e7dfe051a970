import { boundsOf, createMap, element, maplibre, told, whenReady } from "./map.mjs";

const question = document.getElementById("question");
question.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) question.form.requestSubmit();
});

if (document.getElementById("for-the-map")) {
  const { places, ...look } = told();
  const bounds = boundsOf(...places.features.map(({ geometry }) => geometry));
  const start = bounds.isEmpty() ? {} : { bounds, fitBoundsOptions: { padding: 40, maxZoom: 14 } };
  const map = createMap("map", look, start);
  if (map) {
    await whenReady(map);
    map.addSource("answer", { type: "geojson", data: places });
    map.addLayer({ id: "fills", type: "fill", source: "answer", filter: ["==", ["geometry-type"], "Polygon"],
      paint: { "fill-color": "#ec7014", "fill-opacity": 0.4 } });
    map.addLayer({ id: "lines", type: "line", source: "answer", filter: ["!=", ["geometry-type"], "Point"],
      paint: { "line-color": "#3b1e08", "line-width": 1.5 } });
    map.addLayer({ id: "points", type: "circle", source: "answer", filter: ["==", ["geometry-type"], "Point"],
      paint: { "circle-radius": 6, "circle-color": "#0072b2", "circle-stroke-color": "#ffffff", "circle-stroke-width": 2 } });
    for (const layer of ["fills", "points"]) {
      map.on("click", layer, ({ features: [one], lngLat }) => {
        const list = element("dl", undefined, { class: "measures" });
        Object.entries(one.properties).slice(0, 12).forEach(([name, value]) => {
          list.append(element("dt", name), element("dd", String(value)));
        });
        new maplibre.Popup().setLngLat(lngLat).setDOMContent(list).addTo(map);
      });
    }
    document.body.dataset.map = "ready";
  }
}
