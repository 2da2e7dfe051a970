// A map as every page of the console has it: terrain or the shoreline below, what is known above.
import * as maplibre from "./vendor/maplibre-gl.mjs";

export { maplibre };
export const CONFIDENCE = ["interpolate", ["linear"], ["coalesce", ["get", "confidence"], 1],
  0.3, "#fff7bc", 0.55, "#fec44f", 0.75, "#ec7014", 0.95, "#993404"];
const EMPTY = { type: "FeatureCollection", features: [] };

export function told() {
  return JSON.parse(document.getElementById("for-the-map").textContent);
}

export function post(url, body) {
  return fetch(url, {
    method: "POST",
    headers: { "Content-Type": "application/json", "X-CSRF-Token": document.body.dataset.csrf },
    body: JSON.stringify(body),
  });
}

export function element(name, text, attributes = {}) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

// A map in an element; null where the browser has no WebGL, which the element then says.
export function createMap(id, { basemap, words }, options = {}) {
  const container = document.getElementById(id);
  const sources = { land: { type: "geojson", data: "/land.geojson", attribution: words.attribution } };
  const layers = [
    { id: "sea", type: "background", paint: { "background-color": "#e3e9ed" } },
    { id: "land", type: "fill", source: "land", paint: { "fill-color": "#f7f7f4" } },
    { id: "shore", type: "line", source: "land", paint: { "line-color": "#9fb3c8", "line-width": 0.8 } },
  ];
  if (basemap) {
    sources.basemap = { type: "raster", tiles: [basemap], tileSize: 256 };
    layers.push({ id: "basemap", type: "raster", source: "basemap" });
  }
  try {
    const map = new maplibre.Map({
      container, style: { version: 8, sources, layers }, attributionControl: { compact: true },
      dragRotate: false, pitchWithRotate: false, touchPitch: false, fadeDuration: 0, ...options,
    });
    map.touchZoomRotate.disableRotation();
    map.addControl(new maplibre.NavigationControl({ showCompass: false }), "top-right");
    map.addControl(new maplibre.ScaleControl(), "bottom-left");
    return map;
  } catch (error) {
    container.textContent = words.no_webgl;
    return null;
  }
}

export function whenReady(map) {
  return map.loaded() ? Promise.resolve() : new Promise((done) => map.once("load", done));
}

// The hatch of ground that nobody saw, drawn here so that no picture has to be fetched.
export function addHatch(map) {
  const side = 12, canvas = document.createElement("canvas");
  canvas.width = canvas.height = side;
  const brush = canvas.getContext("2d");
  brush.fillStyle = "rgba(255, 255, 255, 0.72)";
  brush.fillRect(0, 0, side, side);
  brush.strokeStyle = "#4a5765";
  brush.lineWidth = 1.4;
  for (const shift of [-side, 0, side]) {
    brush.beginPath();
    brush.moveTo(shift, side);
    brush.lineTo(shift + side, 0);
    brush.stroke();
  }
  map.addImage("hatch", brush.getImageData(0, 0, side, side));
}

// The area, hatched where nobody looked; fits the map to it the first time.
export async function addGround(map, event, version, fit = true) {
  const query = version ? `?version=${version}` : "";
  const ground = await (await fetch(`/events/${event}/ground.geojson${query}`)).json();
  addHatch(map);
  map.addSource("ground", { type: "geojson", data: ground });
  map.addLayer({ id: "unseen", type: "fill", source: "ground", filter: ["==", ["get", "layer"], "unseen"],
    paint: { "fill-pattern": "hatch" } });
  map.addLayer({ id: "aoi-halo", type: "line", source: "ground", filter: ["==", ["get", "layer"], "aoi"],
    paint: { "line-color": "#ffffff", "line-width": 4 } });
  map.addLayer({ id: "aoi", type: "line", source: "ground", filter: ["==", ["get", "layer"], "aoi"],
    paint: { "line-color": "#1f2933", "line-width": 1.6 } });
  if (fit) {
    const [west, south, east, north] = ground.bbox;
    map.fitBounds([[west, south], [east, north]], { padding: 30, animate: false });
  }
  return ground.bbox;
}

// A product's tiles under everything else; an empty name takes them away.
export function showRaster(map, event, product, query = "", id = "raster", opacity = 1) {
  if (map.getLayer(id)) map.removeLayer(id);
  if (map.getSource(id)) map.removeSource(id);
  if (!product) return;
  const tiles = `${location.origin}/products/${event}/${product}/tiles/WebMercatorQuad/{z}/{x}/{y}.png`;
  map.addSource(id, { type: "raster", tiles: [query ? `${tiles}?${query}` : tiles], tileSize: 256 });
  const above = ["unseen", "aoi-halo"].find((name) => map.getLayer(name));
  map.addLayer({ id, type: "raster", source: id, paint: { "raster-opacity": opacity, "raster-fade-duration": 0 } }, above);
}

// Landslides of one inventory, coloured by confidence; a click says what each is.
export function addLandslides(map, inventory, words, { filled = true } = {}) {
  if (!inventory) return;
  map.addSource("landslides", { type: "vector", tiles: [tilesOf(inventory)], minzoom: 5, maxzoom: 15, promoteId: "number" });
  const layer = { source: "landslides", "source-layer": "default" };
  if (filled) {
    map.addLayer({ id: "landslides", type: "fill", ...layer, paint: { "fill-color": CONFIDENCE, "fill-opacity": 0.55 } });
  }
  map.addLayer({ id: "landslide-edges", type: "line", ...layer,
    paint: { "line-color": filled ? "#3b1e08" : "#005b8f", "line-width": ["interpolate", ["linear"], ["zoom"], 8, 0.4, 14, 1.4] } });
  if (!filled) return;
  map.on("click", "landslides", (event) => {
    const one = event.features[0].properties;
    const list = element("dl", undefined, { class: "measures" });
    const facts = { [words.confidence]: one.confidence === undefined ? "–" : Number(one.confidence).toFixed(2),
      [words.area]: `${Math.round(one.area_m2).toLocaleString("en")} m²`, [words.review]: one.review_state };
    for (const [name, value] of Object.entries(facts)) list.append(element("dt", name), element("dd", value));
    const box = element("div");
    box.append(element("strong", `${words.landslide} ${one.number}`), list);
    new maplibre.Popup().setLngLat(event.lngLat).setDOMContent(box).addTo(map);
  });
  map.on("mouseenter", "landslides", () => { map.getCanvas().style.cursor = "pointer"; });
  map.on("mouseleave", "landslides", () => { map.getCanvas().style.cursor = ""; });
}

export function tilesOf(inventory) {
  const columns = "number,confidence,area_m2,review_state";
  return `${location.origin}/collections/scarp.v_landslides_all/tiles/WebMercatorQuad/{z}/{x}/{y}` +
    `?inventory_id=${inventory}&stands=true&properties=${columns}&sortby=-area_m2&limit=4000`;
}

export function emptySource(map, id) {
  map.addSource(id, { type: "geojson", data: EMPTY });
}

export function setData(map, id, geometry) {
  map.getSource(id).setData(geometry ? { type: "Feature", properties: {}, geometry } : EMPTY);
}

export function boundsOf(geometry) {
  const bounds = new maplibre.LngLatBounds();
  const walk = (part) => (typeof part[0] === "number" ? bounds.extend(part) : part.forEach(walk));
  walk(geometry.coordinates);
  return bounds;
}
