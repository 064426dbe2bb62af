/** Drawn people in drawn rooms, for pictures of a meeting that show nobody real. */

export interface Look {
  skin: string;
  shade: string;
  hair: string;
  shirt: string;
  collar: string;
  style: "long" | "short" | "curly" | "bob";
  glasses?: boolean;
  beard?: boolean;
  /** The room behind. */
  wall: [string, string];
  room: "window" | "shelf" | "plant" | "lamp";
}

export const PEOPLE: Record<string, Look> = {
  Ada: {
    skin: "#f0c6a4",
    shade: "#dca883",
    hair: "#5b3423",
    shirt: "#35657c",
    collar: "#2b5468",
    style: "long",
    wall: ["#e9dfd0", "#c9b79f"],
    room: "window",
  },
  Ben: {
    skin: "#f3cfb5",
    shade: "#dfb192",
    hair: "#a5562b",
    shirt: "#5d7052",
    collar: "#4c5d43",
    style: "short",
    glasses: true,
    beard: true,
    wall: ["#c5d3d8", "#8fa5ae"],
    room: "shelf",
  },
  Chiara: {
    skin: "#d9a27a",
    shade: "#c1875f",
    hair: "#2b1d1a",
    shirt: "#c8654f",
    collar: "#ad523e",
    style: "curly",
    wall: ["#dfe6da", "#a9bba2"],
    room: "plant",
  },
  Dev: {
    skin: "#a9714b",
    shade: "#8e5b39",
    hair: "#1c1717",
    shirt: "#e0b658",
    collar: "#c79c3f",
    style: "bob",
    wall: ["#54607c", "#333c54"],
    room: "lamp",
  },
};

const ROOMS: Record<Look["room"], string> = {
  window: `
    <rect x="52" y="20" width="170" height="210" rx="6" fill="#fbf6ec"/>
    <rect x="62" y="30" width="150" height="190" fill="#bfdcec"/>
    <path d="M62 170 C100 140 140 165 212 135 V220 H62 Z" fill="#a9c79a"/>
    <rect x="133" y="30" width="8" height="190" fill="#fbf6ec"/>
    <rect x="470" y="250" width="150" height="14" fill="#9c7a58"/>
    <rect x="500" y="180" width="26" height="70" fill="#7f9fae"/><rect x="530" y="192" width="20" height="58" fill="#c98d6a"/>
    <rect x="553" y="172" width="24" height="78" fill="#e0c79a"/>`,
  shelf: `
    <g fill="#7c5a41"><rect x="0" y="92" width="640" height="12"/><rect x="0" y="208" width="640" height="12"/></g>
    ${books(10, 92, 11)}${books(452, 92, 10)}${books(10, 208, 10)}${books(470, 208, 9)}`,
  plant: `
    <rect x="430" y="24" width="120" height="150" rx="4" fill="#f7f4ea"/><rect x="442" y="36" width="96" height="126" fill="#e9c9a8"/>
    <circle cx="490" cy="90" r="28" fill="#d98e6a"/>
    <path d="M70 360 L82 270 H142 L154 360 Z" fill="#b98863"/>
    <g fill="#5f8a5b"><path d="M112 275 C60 220 40 150 66 90 C100 140 116 210 112 275Z"/>
    <path d="M112 275 C150 220 184 190 192 120 C140 150 108 210 112 275Z"/><path d="M110 275 C80 250 30 230 6 236 C30 268 80 284 110 275Z"/></g>
    <g fill="#77a36f"><path d="M114 275 C112 200 116 120 132 62 C150 130 140 210 114 275Z"/></g>`,
  lamp: `
    <circle cx="545" cy="120" r="150" fill="#f4c987" opacity=".28"/><circle cx="545" cy="120" r="84" fill="#f9dca6" opacity=".5"/>
    <path d="M505 150 L522 84 H568 L585 150 Z" fill="#ffe9bd"/><rect x="541" y="150" width="8" height="140" fill="#22293c"/>
    <rect x="40" y="60" width="150" height="104" rx="4" fill="#232b40"/><path d="M48 156 L92 104 L122 134 L146 112 L182 156Z" fill="#6d7ba3"/>
    <circle cx="150" cy="86" r="11" fill="#f0c987"/>`,
};

function books(left: number, floor: number, count: number): string {
  const colours = ["#b5654a", "#e0c79a", "#5f7f8f", "#8a9a6b", "#caa15f", "#6b5b7b"];
  let x = left;
  return Array.from({ length: count }, (_, i) => {
    const [width, height] = [11 + ((i * 7) % 9), 50 + ((i * 13) % 26)];
    const book = `<rect x="${x}" y="${floor - height}" width="${width}" height="${height}" rx="1.5" fill="${colours[(i * 5 + left) % colours.length]}"/>`;
    x += width + 2;
    return book;
  }).join("");
}

function curls(hair: string, dots: [number, number, number][]): string {
  return dots.map(([x, y, r]) => `<circle cx="${x}" cy="${y}" r="${r}" fill="${hair}"/>`).join("");
}

function hairBehind({ style, hair }: Look): string {
  switch (style) {
    case "long":
      return `<path d="M320 78 C240 74 228 150 234 210 C236 260 226 290 236 318 H404 C414 290 404 260 406 210 C412 150 400 74 320 78Z" fill="${hair}"/>`;
    case "curly": {
      const ring: [number, number, number][] = Array.from({ length: 15 }, (_, i) => {
        const angle = Math.PI * (0.83 + (1.34 * i) / 14);
        return [320 + 78 * Math.cos(angle), 172 + 84 * Math.sin(angle), 31];
      });
      return curls(hair, [...ring, [250, 218, 28], [390, 218, 28], [262, 246, 22], [378, 246, 22]]);
    }
    default:
      return "";
  }
}

function hairBefore({ style, hair }: Look): string {
  switch (style) {
    case "long":
      return `<path d="M248 184 C240 98 282 80 322 80 C366 80 400 104 391 184 C384 146 362 128 338 120 C318 136 272 138 248 184Z" fill="${hair}"/>`;
    case "short":
      return `<path d="M259 160 C250 104 280 80 326 82 C372 82 392 112 381 160 C378 138 370 126 358 122 C330 128 300 126 282 118 C270 128 264 142 259 160Z" fill="${hair}"/>`;
    case "bob":
      return `<path d="M258 168 C246 96 284 72 330 78 C380 78 396 120 382 168 C380 146 376 136 366 128 C346 134 330 120 312 112 C296 132 266 132 258 168Z" fill="${hair}"/>`;
    case "curly":
      return curls(hair, [
        [276, 118, 21],
        [300, 106, 21],
        [326, 103, 21],
        [352, 108, 21],
        [370, 122, 18],
      ]);
  }
}

/** A person as a camera would see them, 640 × 360. */
export function portrait(look: Look): string {
  const { skin, shade, hair, shirt, collar, wall, room } = look;
  const beard = look.beard
    ? `<path d="M262 180 C264 232 292 252 320 252 C348 252 376 232 378 180 C370 204 352 204 320 203 C288 204 270 204 262 180Z" fill="${hair}"/>`
    : "";
  const glasses = look.glasses
    ? `<g fill="rgb(255 255 255 / .18)" stroke="#33302f" stroke-width="3.5"><rect x="278" y="156" width="35" height="27" rx="11"/>
       <rect x="327" y="156" width="35" height="27" rx="11"/><path d="M313 166 Q320 162 327 166" fill="none"/></g>`
    : "";
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 640 360">
  <defs>
    <linearGradient id="wall" x1="0" y1="0" x2="1" y2="1"><stop offset="0" stop-color="${wall[0]}"/><stop offset="1" stop-color="${wall[1]}"/></linearGradient>
    <linearGradient id="shirt" x1="0" y1="0" x2="0" y2="1"><stop offset="0" stop-color="${shirt}"/><stop offset="1" stop-color="${collar}"/></linearGradient>
    <linearGradient id="skin" x1="0" y1="0" x2="1" y2="0"><stop offset=".4" stop-color="${skin}"/><stop offset="1" stop-color="${shade}"/></linearGradient>
    <filter id="far"><feGaussianBlur stdDeviation="3.2"/></filter>
  </defs>
  <rect width="640" height="360" fill="url(#wall)"/>
  <g filter="url(#far)">${ROOMS[room]}</g>
  <g transform="translate(320 362) scale(1.14) translate(-320 -360)">
    ${hairBehind(look)}
    <path d="M168 366 C172 300 226 280 284 268 L320 284 L356 268 C414 280 468 300 472 366 Z" fill="url(#shirt)"/>
    <path d="M293 216 H347 V262 C347 292 293 292 293 262 Z" fill="${shade}"/>
    <path d="M276 270 L292 260 C296 288 344 288 348 260 L364 270 C352 306 288 306 276 270Z" fill="${collar}"/>
    <ellipse cx="257" cy="176" rx="10" ry="16" fill="${skin}"/><ellipse cx="383" cy="176" rx="10" ry="16" fill="${shade}"/>
    <path d="M258 150 C258 104 284 92 320 92 C356 92 382 104 382 150 C384 206 356 250 320 250 C284 250 256 206 258 150Z" fill="url(#skin)"/>
    ${beard}
    <g fill="#fff"><ellipse cx="296" cy="170" rx="9.5" ry="6.5"/><ellipse cx="344" cy="170" rx="9.5" ry="6.5"/></g>
    <g fill="#3a2a22"><circle cx="297" cy="170" r="5.2"/><circle cx="345" cy="170" r="5.2"/></g>
    <g fill="#fff"><circle cx="299" cy="168" r="1.6"/><circle cx="347" cy="168" r="1.6"/></g>
    <g fill="none" stroke="${hair}" stroke-width="4.5" stroke-linecap="round"><path d="M283 154 Q296 147 309 153"/><path d="M331 153 Q344 147 357 154"/></g>
    <path d="M320 174 C316 190 312 196 322 198" fill="none" stroke="${shade}" stroke-width="4" stroke-linecap="round"/>
    <path d="M298 214 Q320 236 342 214 Q320 220 298 214Z" fill="#fff" stroke="#a4533f" stroke-width="3" stroke-linejoin="round"/>
    ${glasses}
    ${hairBefore(look)}
  </g>
</svg>`;
}
