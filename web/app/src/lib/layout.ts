/** How tiles fill a space. Pure. */

export interface Layout {
  columns: number;
  rows: number;
  width: number;
  height: number;
}

/** Pictures are cropped to a shape between these, the wider the better. */
export const SHAPES = [16 / 9, 4 / 3, 1];

/** The arrangement of `count` equal tiles that shows the most in `width` × `height` px. */
export function arrange(count: number, width: number, height: number, gap: number, shapes = SHAPES): Layout {
  let best: Layout = { columns: 1, rows: 1, width: 0, height: 0 };
  let bestArea = 0;
  for (let columns = 1; columns <= count; columns++) {
    const rows = Math.ceil(count / columns);
    const room = { width: (width - gap * (columns - 1)) / columns, height: (height - gap * (rows - 1)) / rows };
    if (room.width <= 0 || room.height <= 0) continue;
    for (const shape of shapes) {
      const tileWidth = Math.floor(Math.min(room.width, room.height * shape));
      const tileHeight = Math.floor(tileWidth / shape);
      // A little of the area is worth a wider shape.
      const area = tileWidth * tileHeight * (shape === shapes[0] ? 1.15 : 1);
      if (area > bestArea) {
        bestArea = area;
        best = { columns, rows, width: tileWidth, height: tileHeight };
      }
    }
  }
  return best;
}

/** How many tiles make sense before they are too small to see a face. */
export function capacity(width: number, height: number): number {
  const columns = Math.max(1, Math.floor(width / 112));
  const rows = Math.max(1, Math.floor(height / 84));
  return Math.max(2, Math.min(25, columns * rows));
}
