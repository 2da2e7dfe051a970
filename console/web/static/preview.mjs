import { boundsOf, createMap, maplibre, told, whenReady } from "./map.mjs";

const { area, at, ...look } = told();
const map = createMap("map", look, { bounds: boundsOf(area), fitBoundsOptions: { padding: 60, maxZoom: 12 } });
if (map) {
  await whenReady(map);
  map.addSource("area", { type: "geojson", data: { type: "Feature", properties: {}, geometry: area } });
  map.addLayer({ id: "area", type: "fill", source: "area", paint: { "fill-color": "#0072b2", "fill-opacity": 0.15 } });
  map.addLayer({ id: "edge", type: "line", source: "area", paint: { "line-color": "#1f2933", "line-width": 2 } });
  new maplibre.Marker({ color: "#d55e00" }).setLngLat(at).addTo(map);
  document.body.dataset.map = "ready";
}
