// Drawing on a map: an area, a line, or the corners of outlines that are there.
import { maplibre } from "./map.mjs";
import { TerraDraw, TerraDrawLineStringMode, TerraDrawPolygonMode, TerraDrawSelectMode } from "./vendor/terra-draw.mjs";
import { TerraDrawMapLibreGLAdapter } from "./vendor/terra-draw-maplibre-gl-adapter.mjs";

const CORNERS = { feature: { draggable: false, coordinates: { midpoints: true, draggable: true, deletable: true } } };

export function createDrawing(map) {
  const draw = new TerraDraw({
    adapter: new TerraDrawMapLibreGLAdapter({ map, lib: maplibre }),
    modes: [
      new TerraDrawPolygonMode({ styles: { fillColor: "#0072b2", fillOpacity: 0.2, outlineColor: "#1f2933", outlineWidth: 2 } }),
      new TerraDrawLineStringMode({ styles: { lineStringColor: "#d55e00", lineStringWidth: 3 } }),
      new TerraDrawSelectMode({ flags: { polygon: CORNERS } }),
    ],
  });
  draw.start();
  return draw;
}

export function drawn(draw, type) {
  return draw.getSnapshot().filter(({ geometry, properties }) => geometry.type === type && !properties.midPoint && !properties.selectionPoint)
    .map(({ geometry }) => geometry);
}

// Puts outlines on the map to be changed; their holes stay as they are and come back with `edited`.
export function edit(draw, outline) {
  const parts = outline.type === "Polygon" ? [outline.coordinates] : outline.coordinates;
  const features = parts.map(([ring]) => ({
    type: "Feature", properties: { mode: "polygon" },
    geometry: { type: "Polygon", coordinates: [ring.map((corner) => corner.map((degrees) => Number(degrees.toFixed(7))))] },
  }));
  const added = draw.addFeatures(features);
  draw.setMode("select");
  for (const { id } of added) if (id !== undefined) draw.selectFeature(id);
  const holes = parts.map(([, ...rest]) => rest);
  return () => {
    const rings = added.map(({ id }) => draw.getSnapshotFeature(id).geometry.coordinates[0]);
    const coordinates = rings.map((ring, part) => [ring, ...holes[part]]);
    return { type: "MultiPolygon", coordinates };
  };
}
