import { createMap, element, maplibre, told, whenReady } from "./map.mjs";

const { places, words, doing, basemap } = told();
const COLOURS = ["match", ["get", "doing"], "published", "#009e73", "responding", "#0072b2", "waiting", "#d55e00",
  "given_up", "#d55e00", "held", "#7b8794", "cancelled", "#7b8794", "closed", "#7b8794", "#1f2933"];
const map = createMap("map", { basemap, words }, { center: [10, 25], zoom: 0.6, minZoom: 0 });
if (map) {
  await whenReady(map);
  const features = places.map(({ at, ...properties }) => (
    { type: "Feature", properties, geometry: { type: "Point", coordinates: at } }));
  map.addSource("events", { type: "geojson", data: { type: "FeatureCollection", features } });
  map.addLayer({ id: "events", type: "circle", source: "events", paint: {
    "circle-radius": 7, "circle-color": COLOURS, "circle-stroke-color": "#ffffff", "circle-stroke-width": 2 } });
  map.on("click", "events", ({ features: [one], lngLat }) => {
    const link = element("a", one.properties.title, { href: `/events/${encodeURIComponent(one.properties.id)}` });
    const box = element("div");
    box.append(link, element("br"), element("span", doing[one.properties.doing]));
    new maplibre.Popup().setLngLat(lngLat).setDOMContent(box).addTo(map);
  });
  document.body.dataset.map = "ready";
}
