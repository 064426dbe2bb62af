/** The largest even size within the limits that keeps the picture's shape; never enlarged. Pure. */
export function fit(
  width: number,
  height: number,
  maxWidth: number,
  maxHeight: number,
): { width: number; height: number } {
  // A portrait picture (a phone) gets the limits turned.
  const [w, h] = height > width ? [maxHeight, maxWidth] : [maxWidth, maxHeight];
  const scale = Math.min(1, w / width, h / height);
  const even = (value: number): number => Math.max(2, Math.round((value * scale) / 2) * 2);
  return { width: even(width), height: even(height) };
}
