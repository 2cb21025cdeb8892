// Many points on a canvas: drawn pixel by pixel into one image, so that 50,000 of them move smoothly.

const SMALLEST = 1.6; // CSS px
const REACH = 10; // CSS px around the mouse within which a point is meant
const CELLS = 96; // of the raster that finds the point under the mouse
const LARGEST = 60;

/** A colour as one word of the image: alpha, blue, green, red from the highest byte on. */
export const packed = (red, green, blue) => ((255 << 24) | (blue << 16) | (green << 8) | red) >>> 0;

export class Scatter {
  #x = new Float32Array();
  #y = new Float32Array();
  #colours = new Uint32Array();
  #raster = new Map();
  #image = null;
  #pixels = null;
  /** Where the unit square lies, in device px. */
  #view = { scale: 1, left: 0, top: 0 };
  chosen = new Uint8Array();
  dimmed = new Uint8Array();
  current = -1;

  constructor(canvas) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d", { alpha: false, willReadFrequently: true });
  }

  get length() {
    return this.#x.length;
  }

  setPoints(x, y) {
    this.#x = Float32Array.from(x);
    this.#y = Float32Array.from(y);
    this.#colours = new Uint32Array(x.length);
    this.chosen = new Uint8Array(x.length);
    this.dimmed = new Uint8Array(x.length);
    this.#raster = new Map();
    for (let point = 0; point < x.length; point += 1) {
      const cell = this.#cell(x[point], y[point]);
      if (this.#raster.has(cell)) this.#raster.get(cell).push(point);
      else this.#raster.set(cell, [point]);
    }
    this.fit();
  }

  setColours(colours) {
    this.#colours = colours;
  }

  /** Take over the canvas's size on the screen; what is in the middle stays there. */
  resize() {
    const { clientWidth, clientHeight } = this.canvas;
    const width = Math.max(1, Math.round(clientWidth * devicePixelRatio));
    const height = Math.max(1, Math.round(clientHeight * devicePixelRatio));
    if (width === this.canvas.width && height === this.canvas.height && this.#image) return;
    const before = this.#image && { width: this.canvas.width, height: this.canvas.height };
    this.canvas.width = width;
    this.canvas.height = height;
    this.#image = this.context.createImageData(width, height);
    this.#pixels = new Uint32Array(this.#image.data.buffer);
    if (!before) return this.fit();
    this.#view.left += (width - before.width) / 2;
    this.#view.top += (height - before.height) / 2;
  }

  /** Show all points. */
  fit() {
    const { width, height } = this.canvas;
    const scale = Math.max(1, Math.min(width, height) * 0.94);
    this.#view = { scale, left: (width - scale) / 2, top: (height - scale) / 2 };
    this.fitted = scale;
  }

  /** Zoom by a factor about a place on the canvas, in CSS px from its corner. */
  zoom(factor, x, y) {
    const { scale, left, top } = this.#view;
    const next = Math.min(this.fitted * LARGEST, Math.max(this.fitted * 0.5, scale * factor));
    const [deviceX, deviceY] = [x * devicePixelRatio, y * devicePixelRatio];
    const ratio = next / scale;
    this.#view = { scale: next, left: deviceX - (deviceX - left) * ratio, top: deviceY - (deviceY - top) * ratio };
  }

  move(x, y) {
    this.#view.left += x * devicePixelRatio;
    this.#view.top += y * devicePixelRatio;
  }

  /** Draw all points: dimmed ones first, chosen ones last and larger. `ground`, `faint`, `ring` are packed colours. */
  draw({ ground, faint, ring }) {
    this.resize();
    this.#pixels.fill(ground);
    const growth = Math.min(3, Math.sqrt(this.#view.scale / this.fitted));
    const radius = Math.max(1, Math.round(SMALLEST * growth * devicePixelRatio * (this.length > 20_000 ? 0.8 : 1.2)));
    const dot = disc(radius);
    const chosen = [];
    const clear = [];
    for (let point = 0; point < this.#x.length; point += 1) {
      if (this.chosen[point]) chosen.push(point);
      else if (this.dimmed[point]) this.#stamp(point, dot, faint);
      else clear.push(point);
    }
    for (const point of clear) this.#stamp(point, dot, this.#colours[point]);
    const halo = disc(radius + Math.ceil(1.5 * devicePixelRatio));
    for (const point of chosen) this.#stamp(point, halo, ring);
    for (const point of chosen) this.#stamp(point, dot, this.#colours[point]);
    if (this.current >= 0) {
      this.#stamp(this.current, disc(radius + Math.ceil(4 * devicePixelRatio)), ring);
      this.#stamp(this.current, disc(radius + Math.ceil(2 * devicePixelRatio)), ground);
      this.#stamp(this.current, dot, this.#colours[this.current]);
    }
    this.context.putImageData(this.#image, 0, 0);
  }

  #stamp(point, spans, colour) {
    const { width, height } = this.canvas;
    const { scale, left, top } = this.#view;
    const x = Math.round(left + this.#x[point] * scale);
    const y = Math.round(top + this.#y[point] * scale);
    const reach = (spans.length - 1) / 2;
    if (x < -reach || y < -reach || x >= width + reach || y >= height + reach) return;
    for (let line = 0; line < spans.length; line += 1) {
      const row = y + line - reach;
      if (row < 0 || row >= height) continue;
      const from = Math.max(0, x - spans[line]);
      const to = Math.min(width - 1, x + spans[line]);
      for (let at = row * width + from; at <= row * width + to; at += 1) this.#pixels[at] = colour;
    }
  }

  /** The nearest point to a place on the canvas, in CSS px; −1 where none is near. */
  nearest(x, y) {
    const place = this.#unit(x, y);
    const reach = (REACH * devicePixelRatio) / this.#view.scale;
    const cells = Math.ceil(reach * CELLS);
    let best = -1;
    let least = reach * reach;
    const [column, row] = [Math.floor(place.x * CELLS), Math.floor(place.y * CELLS)];
    for (let down = row - cells; down <= row + cells; down += 1)
      for (let across = column - cells; across <= column + cells; across += 1)
        for (const point of this.#raster.get(down * CELLS * 4 + across) ?? []) {
          const distance = (this.#x[point] - place.x) ** 2 + (this.#y[point] - place.y) ** 2;
          if (distance < least) [best, least] = [point, distance];
        }
    return best;
  }

  /** The points within a loop of places on the canvas, `[x, y]` in CSS px. */
  within(loop) {
    const corners = loop.map(([x, y]) => this.#unit(x, y));
    const [left, right] = [Math.min(...corners.map(({ x }) => x)), Math.max(...corners.map(({ x }) => x))];
    const [top, bottom] = [Math.min(...corners.map(({ y }) => y)), Math.max(...corners.map(({ y }) => y))];
    const found = [];
    for (let point = 0; point < this.#x.length; point += 1) {
      const [x, y] = [this.#x[point], this.#y[point]];
      if (x >= left && x <= right && y >= top && y <= bottom && isInside(x, y, corners)) found.push(point);
    }
    return found;
  }

  /** Where a point is seen, in CSS px from the canvas's corner. */
  placeOf(point) {
    const { scale, left, top } = this.#view;
    return [(left + this.#x[point] * scale) / devicePixelRatio, (top + this.#y[point] * scale) / devicePixelRatio];
  }

  #unit(x, y) {
    const { scale, left, top } = this.#view;
    return { x: (x * devicePixelRatio - left) / scale, y: (y * devicePixelRatio - top) / scale };
  }

  #cell(x, y) {
    return Math.floor(y * CELLS) * CELLS * 4 + Math.floor(x * CELLS);
  }
}

/** Half the width of each line of a disc, from its top. */
function disc(radius) {
  return Array.from({ length: 2 * radius + 1 }, (_, line) => Math.floor(Math.sqrt(radius ** 2 + radius / 2 - (line - radius) ** 2) || 0));
}

/** Whether a ray from a point crosses the loop an odd number of times. */
function isInside(x, y, loop) {
  let inside = false;
  for (let at = 0, before = loop.length - 1; at < loop.length; before = at, at += 1) {
    const [one, other] = [loop[at], loop[before]];
    if (one.y > y !== other.y > y && x < ((other.x - one.x) * (y - one.y)) / (other.y - one.y) + one.x) inside = !inside;
  }
  return inside;
}
