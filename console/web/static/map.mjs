// A map as every page of the console has it: terrain or the shoreline below, what is known above.
import * as maplibre from "./vendor/maplibre-gl.mjs";

export { maplibre };
// What people drew or imported has no confidence, neither a high nor a low one.
const CONFIDENCE = ["case", ["has", "confidence"], ["interpolate", ["linear"], ["get", "confidence"],
  0, "#fff7bc", 0.33, "#fec44f", 0.67, "#ec7014", 1, "#993404"], "#b8c4ce"];
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
    keepShoreTrue(map);
    return map;
  } catch (error) {
    container.textContent = words.no_webgl;
    return null;
  }
}

// The world's shoreline is coarse: near the ground that of what is in sight takes its place.
function keepShoreTrue(map) {
  let shown = "";
  const renew = () => {
    const seen = map.getBounds(), near = map.getZoom() > 6;
    const corners = [Math.floor(seen.getWest()), Math.floor(seen.getSouth()), Math.ceil(seen.getEast()), Math.ceil(seen.getNorth())];
    const wanted = near ? `?bounds=${corners}` : "";
    if (wanted === shown || !map.getSource("land")) return;
    shown = wanted;
    map.getSource("land").setData(`/land.geojson${wanted}`);
  };
  map.on("moveend", renew);
  map.once("load", renew);
}

export function whenReady(map) {
  return map.loaded() ? Promise.resolve() : new Promise((done) => map.once("load", done));
}

// The hatch of ground that nobody saw, drawn here so that no picture has to be fetched.
function addHatch(map) {
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

// A raster's tiles under everything else; an empty name takes them away. They are a product's of the
// event, unless it is said where else they are.
export function showRaster(map, event, product, bounds, query = "", at = `/products/${event}/${product}`) {
  const id = "raster";
  if (map.getLayer(id)) map.removeLayer(id);
  if (map.getSource(id)) map.removeSource(id);
  if (!product) return;
  // Pictures are for eyes: as WebP they are a fraction of the size. Numbers keep their colours as PNG.
  const form = ["before", "after", "hillshade"].includes(product) ? "webp" : "png";
  const tiles = `${location.origin}${at}/tiles/WebMercatorQuad/{z}/{x}/{y}.${form}`;
  map.addSource(id, { type: "raster", tiles: [query ? `${tiles}?${query}` : tiles], tileSize: 256, bounds });
  const above = ["unseen", "aoi-halo"].find((name) => map.getLayer(name));
  map.addLayer({ id, type: "raster", source: id, paint: { "raster-fade-duration": 0 } }, above);
}

// Landslides of one version, coloured by confidence, and below zoom 12 as squares that hold some; a
// click says what each is.
export function addLandslides(map, event, version, words, { filled = true } = {}) {
  if (!version) return;
  const tiles = `${location.origin}/events/${event}/versions/${version}/tiles/{z}/{x}/{y}`;
  map.addSource("landslides", { type: "vector", tiles: [tiles], minzoom: 3, maxzoom: 15 });
  const layer = { source: "landslides", "source-layer": "default" };
  map.addLayer({ id: "squares", type: "fill", ...layer, filter: ["has", "landslides"], paint: {
    "fill-color": "#993404", "fill-opacity": ["interpolate", ["linear"], ["get", "landslides"], 1, 0.35, 20, 0.9] } });
  const outlines = { ...layer, filter: ["!", ["has", "landslides"]] };
  if (filled) {
    map.addLayer({ id: "landslides", type: "fill", ...outlines, paint: { "fill-color": CONFIDENCE, "fill-opacity": 0.55 } });
  } else {
    map.addLayer({ id: "landslide-halo", type: "line", ...outlines, paint: { "line-color": "#ffffff", "line-width": 4 } });
  }
  map.addLayer({ id: "landslide-edges", type: "line", ...outlines, paint: {
    "line-color": filled ? "#3b1e08" : "#0072b2", "line-width": ["interpolate", ["linear"], ["zoom"], 8, 0.4, 14, 1.6] } });
  const tell = (name, facts, lngLat) => {
    const list = element("dl", undefined, { class: "measures" });
    for (const [fact, value] of Object.entries(facts)) list.append(element("dt", fact), element("dd", value));
    const box = element("div");
    box.append(element("strong", name), list);
    new maplibre.Popup().setLngLat(lngLat).setDOMContent(box).addTo(map);
  };
  const area = (one) => `${Math.round(one.area_m2).toLocaleString("en")} m²`;
  map.on("click", "squares", ({ features: [{ properties: one }], lngLat }) => (
    tell(`${one.landslides} ${words.landslides_here}`, { [words.area]: area(one) }, lngLat)));
  if (!filled) return;
  map.on("click", "landslides", ({ features: [{ properties: one }], lngLat }) => tell(`${words.landslide} ${one.number}`, {
    [words.confidence]: one.confidence === undefined ? "–" : one.confidence.toFixed(2),
    [words.area]: area(one), [words.review]: one.review_state }, lngLat));
  map.on("mouseenter", "landslides", () => { map.getCanvas().style.cursor = "pointer"; });
  map.on("mouseleave", "landslides", () => { map.getCanvas().style.cursor = ""; });
}

export function emptySource(map, id) {
  map.addSource(id, { type: "geojson", data: EMPTY });
}

export function setData(map, id, geometry) {
  map.getSource(id).setData(geometry ? { type: "Feature", properties: {}, geometry } : EMPTY);
}

export function boundsOf(...geometries) {
  const bounds = new maplibre.LngLatBounds();
  const walk = (part) => (typeof part[0] === "number" ? bounds.extend(part) : part.forEach(walk));
  for (const { coordinates } of geometries) walk(coordinates ?? []);
  return bounds;
}
