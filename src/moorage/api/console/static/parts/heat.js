/** The heat map: one cell per tree on one canvas, in groups. It knows nothing of where its data comes from. */

import { cut, percent } from "../dom.js";

const CARD = { width: 188, height: 90, gap: 6, words: true, bars: 3 };
const TILE = { width: 132, height: 46, gap: 4, words: true };
const SQUARES = [64, 52, 42, 34, 28, 24, 20, 16, 14, 12, 10, 8, 7, 6, 5, 4, 3];
const SMALLEST = 4;
const SMALLEST_NARROW = 3;
const NARROW = 600;
const MOST_CELLS = 250_000;
const MOST_TILES = 300;
const MOST_CARDS = 64;
const LARGE = 100;
const HEADING = 34;
const BETWEEN = 16;
const SHAPE = 1.9;
const LEAST_BLOCK = 188;
const LEAST_HEIGHT = 320;
const FLASHES = 200;
const FLASH_MILLISECONDS = 2000;
const FACE = 'system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "DejaVu Sans", sans-serif';

const RAMPS = {
  light: ["#e6f0f2", "#c3dfe3", "#93c5cd", "#5ca6b2", "#2e8494", "#135f70", "#073c4b"],
  dark: ["#1c2b33", "#1d404a", "#1e5a66", "#277986", "#3d9caa", "#74c4cf", "#c8f0f4"],
};
const PLAIN = {
  light: { ink: "#14212a", soft: "#4a5b66", line: "#b3c1c8", over: "#b3261e", bar: "#2e8794", free: "#e3eaed" },
  dark: { ink: "#e6eef2", soft: "#a9bac4", line: "#40535f", over: "#ff6f63", bar: "#46a9b6", free: "#24323b" },
};
const STEPS = 64;
const AS_FAR_FROM_BLACK_AS_FROM_WHITE = 0.179;

export const isDark = () => getComputedStyle(document.documentElement).colorScheme === "dark";

/** Colours for shares from 0 to 1, as many as there are steps. */
function ramp(theme) {
  const stops = RAMPS[theme].map(text => [1, 3, 5].map(at => parseInt(text.slice(at, at + 2), 16)));
  return Array.from({ length: STEPS }, (_, step) => {
    const at = (step / (STEPS - 1)) * (stops.length - 1), low = Math.min(Math.floor(at), stops.length - 2);
    const mixed = stops[low].map((value, part) => Math.round(value + (stops[low + 1][part] - value) * (at - low)));
    return { colour: `rgb(${mixed.join(" ")})`, bright: luminance(mixed) > AS_FAR_FROM_BLACK_AS_FROM_WHITE };
  });
}

/** Relative luminance, as WCAG defines it. */
function luminance(parts) {
  const [red, green, blue] = parts.map(value => {
    const part = value / 255;
    return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}

const stepOf = share => Math.max(0, Math.min(STEPS - 1, Math.floor(share * (STEPS - 0.001))));

/** The colour of a share. */
export const colourOf = share => ramp(isDark() ? "dark" : "light")[stepOf(share)].colour;

export class HeatMap {
  /** `chosen(index)` and `hovered(index, box)` are called with positions of trees; -1 for none. */
  constructor(box, { chosen, hovered }) {
    this.box = box;
    this.canvas = document.createElement("canvas");
    this.canvas.tabIndex = 0;
    this.canvas.setAttribute("role", "application");
    this.canvas.heat = this;
    this.cursor = document.createElement("div");
    this.cursor.className = "cursor";
    this.cursor.hidden = true;
    box.append(this.canvas, this.cursor);
    this.at = -1;
    this.flashes = new Map();
    this.hovered = hovered;
    this.canvas.addEventListener("pointermove", event => this.point(this.pick(event.offsetX, event.offsetY)));
    this.canvas.addEventListener("pointerleave", () => this.point(-1));
    this.canvas.addEventListener("click", event => {
      const index = this.pick(event.offsetX, event.offsetY);
      if (index >= 0) chosen(index);
    });
    this.canvas.addEventListener("keydown", event => this._key(event, chosen));
    this.canvas.addEventListener("focus", () => { if (this.at < 0 && this.blocks?.length) this._move(0, 0); });
  }

  /**
   * @param {{groups: {label: string, note: string[], share: number, indices: number[]}[], shares: Float32Array,
   *   names: string[], shown: (index: number) => boolean, classesOf: (index: number) => {className: string,
   *   share: number}[]}} data
   */
  set(data) {
    this.data = data;
    this.layout();
    this.draw();
  }

  /** Places all groups. Cells shrink until the whole fits the window, and no further than can be told apart. */
  layout() {
    const { groups } = this.data;
    const width = Math.max(200, this.box.clientWidth);
    const room = Math.max(LEAST_HEIGHT, innerHeight - this.box.getBoundingClientRect().top - scrollY - 24);
    const cells = groups.reduce((sum, group) => sum + group.indices.length, 0);
    this.each = Math.max(1, Math.ceil(cells / MOST_CELLS));
    const smallest = width < NARROW ? SMALLEST_NARROW : SMALLEST;
    const squares = SQUARES.filter(side => side >= smallest).map(side => ({
      width: side, height: side, gap: side >= 12 ? 2 : 1, words: false,
    }));
    const kinds = width < NARROW ? squares
      : [...(cells <= MOST_CARDS ? [CARD] : []), ...(cells <= MOST_TILES ? [TILE] : []), ...squares];
    for (const kind of kinds) {
      this._place(kind, width);
      if (this.height <= room) break;
    }
    for (const [index, mark] of this.flashes) put(mark, this.find(index));
  }

  /** Marks the cells of some trees for a moment. A cell that is marked stays so, and does not flicker. */
  flash(indices) {
    for (const index of indices) {
      if (this.flashes.has(index) || this.flashes.size >= FLASHES) continue;
      const mark = document.createElement("div");
      mark.className = "flash";
      put(mark, this.find(index));
      this.box.append(mark);
      this.flashes.set(index, mark);
      setTimeout(() => { this.flashes.delete(index); mark.remove(); }, FLASH_MILLISECONDS);
    }
  }

  _place(cell, width) {
    this.cell = cell;
    this.width = width;
    this.blocks = [];
    let x = 0, y = 0, tallest = 0;
    const most = Math.max(1, Math.floor((width + cell.gap) / cell.width));
    for (const group of this.data.groups) {
      const size = Math.ceil(group.indices.length / this.each);
      const least = Math.ceil(LEAST_BLOCK / cell.width);
      const wanted = this.data.groups.length === 1 || width < NARROW ? most : Math.round(Math.sqrt((size * SHAPE * cell.height) / cell.width));
      const columns = even(size, Math.min(most, Math.max(least, wanted)), most);
      const wide = columns * cell.width, tall = HEADING + Math.ceil(size / columns) * cell.height;
      if (x > 0 && x + wide > width + cell.gap) { x = 0; y += tallest + BETWEEN; tallest = 0; }
      this.blocks.push({ group, size, columns, x, y, wide, tall });
      x += wide + BETWEEN;
      tallest = Math.max(tallest, tall);
    }
    this.height = y + tallest;
  }

  draw() {
    const scale = Math.min(devicePixelRatio || 1, 2), theme = isDark() ? "dark" : "light";
    const { canvas, cell, data } = this;
    canvas.width = Math.round(this.width * scale);
    canvas.height = Math.round((this.height + 2) * scale);
    canvas.style.width = `${this.width}px`;
    canvas.style.height = `${this.height + 2}px`;
    const context = canvas.getContext("2d");
    context.scale(scale, scale);
    this.colours = ramp(theme);
    this.plain = PLAIN[theme];
    // One pass for each colour: setting a colour costs more than filling a cell.
    const buckets = Array.from({ length: STEPS + 2 }, () => []);
    for (const block of this.blocks)
      for (let position = 0; position < block.size; position++) {
        const [x, y] = this._corner(block, position), index = this._index(block, position);
        const share = this._share(block, position);
        const bucket = share < 0 ? STEPS : share > 1 ? STEPS + 1 : stepOf(share);
        buckets[bucket].push(x, y, data.shown(index) ? 1 : 0);
      }
    const wide = cell.width - cell.gap, tall = cell.height - cell.gap;
    buckets.forEach((bucket, step) => {
      for (const shown of [0, 1]) {
        context.globalAlpha = shown ? 1 : 0.14;
        context.fillStyle = context.strokeStyle =
          step < STEPS ? this.colours[step].colour : step === STEPS ? this.plain.line : this.plain.over;
        for (let at = 0; at < bucket.length; at += 3) {
          if (bucket[at + 2] !== shown) continue;
          if (step === STEPS) context.strokeRect(bucket[at] + 0.5, bucket[at + 1] + 0.5, wide - 1, tall - 1);
          else context.fillRect(bucket[at], bucket[at + 1], wide, tall);
          if (step === STEPS + 1 && wide > 6) this._stripes(context, bucket[at], bucket[at + 1], wide, tall);
        }
      }
    });
    context.globalAlpha = 1;
    for (const block of this.blocks) this._heading(context, block);
    if (cell.words || cell.width >= 34) this._words(context);
    this.point(this.at < data.names.length ? this.at : -1);
  }

  _stripes(context, x, y, wide, tall) {
    context.save();
    context.beginPath();
    // Words stay free of stripes.
    const free = this.cell.words ? Math.round(wide * 0.7) : 0;
    context.rect(x + free, y, wide - free, tall);
    context.clip();
    context.strokeStyle = this.colours[STEPS - 1].colour;
    context.lineWidth = 2;
    context.beginPath();
    for (let at = -tall; at < wide; at += 6) { context.moveTo(x + at, y + tall); context.lineTo(x + at + tall, y); }
    context.stroke();
    context.restore();
  }

  _heading(context, { group, x, y, wide }) {
    const width = Math.min(wide - this.cell.gap, this.width - x);
    context.textBaseline = "alphabetic";
    context.fillStyle = this.plain.ink;
    context.font = `600 12px ${FACE}`;
    const label = fitted(context, group.label, width);
    context.fillText(label, x, y + 12);
    const taken = context.measureText(label).width + 8;
    context.fillStyle = this.plain.soft;
    context.font = `11px ${FACE}`;
    // As many parts of the note as fit whole.
    const parts = [...group.note];
    while (parts.length && context.measureText(parts.join(" · ")).width > width - taken) parts.pop();
    context.fillText(parts.join(" · "), x + taken, y + 12);
    context.fillStyle = this.plain.free;
    context.fillRect(x, y + 19, width, 4);
    context.fillStyle = group.share > 1 ? this.plain.over : this.plain.bar;
    context.fillRect(x, y + 19, width * Math.max(0, Math.min(1, group.share)), 4);
  }

  _words(context) {
    const { cell, data } = this;
    for (const block of this.blocks)
      for (let position = 0; position < block.size; position++) {
        const index = this._index(block, position), share = this._share(block, position);
        const [x, y] = this._corner(block, position);
        context.globalAlpha = data.shown(index) ? 1 : 0.3;
        const bright = share < 0 || !data.shown(index) ? !isDark() : share > 1 ? isDark() : this.colours[stepOf(share)].bright;
        context.fillStyle = share > 1 ? (isDark() ? "#2b0705" : "#fff") : bright ? "#0c1a22" : "#f4fafb";
        const text = share < 0 ? "none" : percent(share);
        if (cell.words) {
          context.font = `12px ${FACE}`;
          context.fillText(middle(context, data.names[index], cell.width - cell.gap - 12), x + 6, y + 17);
          context.font = `600 13px ${FACE}`;
          context.fillText(text, x + 6, y + 34);
          if (cell.bars) this._bars(context, index, x + 6, y + 42);
        } else {
          context.font = `10px ${FACE}`;
          context.textAlign = "center";
          context.fillText(share < 0 ? "" : text.replace(" %", ""), x + (cell.width - cell.gap) / 2, y + cell.height / 2 + 3);
          context.textAlign = "left";
        }
      }
    context.globalAlpha = 1;
  }

  /** The fullest classes of a tree, in the colour of its words. */
  _bars(context, index, x, y) {
    const width = this.cell.width - this.cell.gap - 12, strength = context.globalAlpha;
    context.font = `10px ${FACE}`;
    this.data.classesOf(index).slice(0, this.cell.bars).forEach(({ className, share }, line) => {
      const top = y + line * 12;
      context.globalAlpha = strength * 0.85;
      context.fillText(middle(context, className, 84), x, top + 8);
      context.globalAlpha = strength * 0.2;
      context.fillRect(x + 88, top + 3, width - 88, 5);
      context.globalAlpha = strength * 0.85;
      context.fillRect(x + 88, top + 3, (width - 88) * Math.min(1, share), 5);
    });
    context.globalAlpha = strength;
  }

  _corner({ x, y, columns }, position) {
    return [x + (position % columns) * this.cell.width, y + HEADING - 6 + Math.floor(position / columns) * this.cell.height];
  }

  _index({ group }, position) {
    return group.indices[position * this.each];
  }

  /** The share of a cell: of its fullest tree where it stands for several. */
  _share({ group }, position) {
    const { shares } = this.data;
    if (this.each === 1) return shares[group.indices[position]];
    let most = -1;
    for (let at = position * this.each; at < Math.min(group.indices.length, (position + 1) * this.each); at++)
      most = Math.max(most, shares[group.indices[at]]);
    return most;
  }

  /** Position of the tree at a point of the canvas; -1 between cells. */
  pick(x, y) {
    for (const block of this.blocks ?? []) {
      if (x < block.x || x >= block.x + block.wide || y < block.y || y >= block.y + block.tall) continue;
      const column = Math.floor((x - block.x) / this.cell.width);
      const line = Math.floor((y - block.y - HEADING + 6) / this.cell.height);
      const position = line * block.columns + column;
      return line >= 0 && column < block.columns && position < block.size ? this._index(block, position) : -1;
    }
    return -1;
  }

  /** Where the tree's cell is: its block, position and box; null if it is not drawn. */
  find(index) {
    for (const block of this.blocks ?? []) {
      const at = block.group.indices.indexOf(index);
      if (at < 0) continue;
      const position = Math.floor(at / this.each), [x, y] = this._corner(block, position);
      return { block, position, x, y, width: this.cell.width - this.cell.gap, height: this.cell.height - this.cell.gap };
    }
    return null;
  }

  point(index) {
    this.at = index;
    const found = index < 0 ? null : this.find(index);
    put(this.cursor, found);
    this.hovered(found ? index : -1, found);
  }

  _move(block, position) {
    this.point(this._index(this.blocks[block], position));
  }

  _key(event, chosen) {
    const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: 0, ArrowDown: 0 };
    if (event.key === "Enter" && this.at >= 0) { event.preventDefault(); chosen(this.at); return; }
    if (!(event.key in steps) || !this.blocks.length) return;
    event.preventDefault();
    const found = this.at < 0 ? null : this.find(this.at);
    if (!found) { this._move(0, 0); return; }
    const number = this.blocks.indexOf(found.block);
    const step = steps[event.key] || (event.key === "ArrowUp" ? -found.block.columns : found.block.columns);
    const next = found.position + step;
    if (next >= 0 && next < found.block.size) this._move(number, next);
    else if (next < 0 && number > 0) this._move(number - 1, this.blocks[number - 1].size - 1);
    else if (next >= found.block.size && number + 1 < this.blocks.length) this._move(number + 1, 0);
  }
}

/** Lays an element over a cell, as `find` tells of it. */
function put(element, found) {
  element.hidden = !found;
  if (!found) return;
  element.style.transform = `translate(${found.x}px, ${found.y}px)`;
  element.style.width = `${found.width}px`;
  element.style.height = `${found.height}px`;
}

/** Some more columns for a large group if its last line would have but a few cells. */
function even(size, columns, most) {
  if (size < LARGE) return columns;
  const wider = Math.ceil(size / Math.max(1, Math.floor(size / columns)));
  return wider <= Math.min(most, columns * 1.15) ? wider : columns;
}

function fitted(context, text, width) {
  if (width <= 0) return "";
  if (context.measureText(text).width <= width) return text;
  let end = text.length;
  while (end > 0 && context.measureText(`${text.slice(0, end)}…`).width > width) end -= 1;
  return end ? `${text.slice(0, end)}…` : "";
}

function middle(context, text, width) {
  for (let most = text.length; most > 6; most -= 1) {
    const tried = cut(text, most);
    if (context.measureText(tried).width <= width) return tried;
  }
  return cut(text, 6);
}
