/** Map: how full the cloud is, and where. One cell per tree. */

import { can, request } from "../api.js";
import { overview, share } from "../cloud.js";
import { amount, count, cut, debounced, fill, h, percent, rounded, say, several, short } from "../dom.js";
import { Follower } from "../follow.js";
import { treesOf } from "../parts/change.js";
import { bar, emptyCloud, into, problem, waiting } from "../parts/elements.js";
import { HeatMap, colourOf } from "../parts/heat.js";
import { treeView } from "../parts/tree.js";
import { change, href } from "../router.js";

const BINS = 10;
const SMALL = 2000;
const LOOK_AGAIN = { small: 10_000, large: 60_000 };
const AFTER_A_CHANGE = { least: 1000, most: 3000 };
const NAMED_AGGREGATES = 2;
const FULL = 0.9;
const MOST_GROUPS = 300;

export const title = "Map";

export function render(main, params) {
  const page = new MapPage(main);
  page.update(params);
  return page;
}

class MapPage {
  constructor(main) {
    this.top = h("div", { class: "title" });
    this.figures = h("dl", { class: "figures" });
    this.tools = h("div", { class: "toolbar", role: "group", "aria-label": "What the map shows" });
    this.box = h("div", { class: "mapbox" });
    this.tip = h("div", { class: "tip", hidden: true });
    this.drawer = h("aside", { class: "drawer", hidden: true, "aria-label": "The chosen tree" });
    this.body = h("div", {}, waiting());
    fill(main, this.body);
    main.append(this.drawer);
    this.resized = debounced(() => this.cloud && this.cloud.size && this.draw(), 120);
    addEventListener("resize", this.resized);
    document.addEventListener("themechange", this.resized);
    this.read();
  }

  destroy() {
    this.gone = true;
    this.follower?.close();
    clearTimeout(this.timer);
    this.resized.cancel();
    removeEventListener("resize", this.resized);
    document.removeEventListener("themechange", this.resized);
  }

  async read(anew = false) {
    clearTimeout(this.timer);
    this.isSoon = false;
    try {
      const cloud = await overview({ anew });
      if (this.gone) return;
      this.take(cloud);
      this.unmet();
    } catch (error) {
      if (!this.gone) fill(this.body, problem(error, () => { fill(this.body, waiting()); this.shown = false; this.read(true); }));
      return;
    }
    this.again();
  }

  again() {
    const pause = this.cloud.size <= SMALL ? LOOK_AGAIN.small : LOOK_AGAIN.large;
    this.timer = setTimeout(() => (document.hidden ? this.again() : this.read(true)), pause);
  }

  take(cloud) {
    const before = this.cloud, same = before && before.revision === cloud.revision;
    this.cloud = cloud;
    if (cloud.size === 0) {
      this.shown = false;
      fill(this.body, h("div", { class: "title" }, h("h1", {}, "Map")), emptyCloud());
      return;
    }
    if (!this.shown) {
      fill(this.body, this.top, this.figures, this.tools, this.box);
      this.box.append(this.tip);
      this.heat ??= new HeatMap(this.box, {
        chosen: index => change({ tree: this.cloud.roots[index] }),
        hovered: (index, place) => this.hover(index, place),
      });
      this.buildTools();
      this.shown = true;
    }
    this.headline();
    if (!same || !this.drawn) this.draw();
    this.watch();
    // Without a stream, what differs from the last look has changed.
    if (before && !same && !this.isLive) this.heat.flash(cloud.differing(before));
  }

  /** Lets cells flash as their trees change. */
  watch() {
    if (this.follower || !can("changes")) return;
    this.follower = new Follower({
      query: { view: "refs" }, position: this.cloud.revision, skips: true,
      took: changes => this.changed(changes),
      told: ({ state }) => {
        const isLive = state === "live" || state === "paged";
        if (isLive === this.isLive) return;
        this.isLive = isLive;
        if (this.shown) this.headline();
      },
    });
    this.follower.start();
  }

  changed(changes) {
    if (!this.shown) { this.read(true); return; }
    const roots = new Set(changes.flatMap(treesOf));
    this.heat.flash([...roots].map(root => this.cloud.indexOf(root)).filter(index => index >= 0));
    if (this.cloud.size > SMALL || this.isSoon) return;
    this.isSoon = true;
    clearTimeout(this.timer);
    const { least, most } = AFTER_A_CHANGE;
    this.timer = setTimeout(() => this.read(true), Math.max(least, most - (Date.now() - this.cloud.at)));
  }

  headline() {
    const { cloud } = this;
    fill(this.top, h("h1", {}, "Map"),
      h("span", { class: "soft" }, h("i", { class: this.isLive ? "dot" : "dot still", title: this.isLive ? "Changes show as they happen" : "Read again from time to time" }), `revision ${count(cloud.revision)}, `,
        new Date(cloud.at).toLocaleTimeString("en-GB")),
      h("button", { type: "button", class: "bare", onclick: () => this.read(true) }, "Read again"));
    const main = cloud.classNames.slice(0, 2);
    const full = cloud.shares("").reduce((sum, one) => sum + (one >= FULL ? 1 : 0), 0);
    const providers = cloud.providers.reduce((sum, one) => sum + one, 0);
    const ofClass = className => {
      const { used, capacity } = cloud.totals[className];
      return figure(`${className} used`, percent(share(used, capacity)), `of ${rounded(className, capacity)}`,
        bar(used, capacity, { label: `${className} used` }));
    };
    const figures = [
      figure("Trees", count(cloud.size), several(providers, "provider")),
      ...main.map(ofClass),
      this.unmetCount === undefined
        ? figure("Trees with a class at 90 % or more", count(full), percent(full / cloud.size))
        : figure("Unmet asks in the last hour", count(this.unmetCount), h("a", { href: "why" }, "Why")),
    ];
    if (main.length < 2) figures.push(figure("Changes per second",
      cloud.changesPerSecond === null ? "–" : String(Math.round(cloud.changesPerSecond * 10) / 10), "since the last look"));
    fill(this.figures, figures.slice(0, 4));
  }

  async unmet() {
    if (!can("unmet")) return;
    try {
      const { data } = await request("moorage/v1/unmet", { query: { since: "1h" } });
      this.unmetCount = data.unmet.reduce((sum, one) => sum + one.count, 0);
      if (!this.gone && this.shown) this.headline();
    } catch { /* The figure is a courtesy: the page is whole without it. */ }
  }

  buildTools() {
    const { params } = this;
    const option = (value, text, chosen) => h("option", { value, selected: value === chosen }, text);
    const colour = h("select", { id: "colour", onchange: event => change({ class: event.target.value }) },
      option("", "the fullest class", params.get("class") ?? ""),
      this.cloud.classNames.map(one => option(one, one, params.get("class"))));
    const group = h("select", { id: "group", onchange: event => change({ group: event.target.value }) },
      option("", "aggregates", params.get("group") ?? ""), option("name", "beginning of the name", params.get("group")),
      option("none", "nothing", params.get("group")));
    const filter = h("input", {
      id: "filter", type: "search", placeholder: "Part of a name", value: params.get("name") ?? "", "aria-label": "Show trees whose name has",
      oninput: debounced(event => change({ name: event.target.value }, { replace: true }), 150),
    });
    this.legend = h("div", { class: "legend", role: "group", "aria-label": "Trees by share used; choose a range to show only these" });
    this.told = h("span", { class: "soft", role: "status" });
    fill(this.tools, h("label", { class: "field" }, "Colour by ", colour), h("label", { class: "field" }, "Group by ", group),
      filter, this.told, this.legend);
    this.inputs = { colour, group, filter };
  }

  update(params) {
    const before = this.params;
    this.params = params;
    const same = before && ["class", "group", "name", "share"].every(one => before.get(one) === params.get(one));
    if (this.shown && !same) this.draw();
    this.openDrawer(params.get("tree"), before?.get("tree"));
  }

  /** The chosen range of bins, or null. */
  range() {
    const [low, high] = (this.params.get("share") ?? "").split("-").map(Number);
    return Number.isFinite(low) && Number.isFinite(high) && high > low ? [low / 100, high / 100] : null;
  }

  draw() {
    const { cloud, params } = this;
    this.drawn = true;
    const className = cloud.classNames.includes(params.get("class")) ? params.get("class") : "";
    this.inputs.colour.value = className;
    this.inputs.group.value = params.get("group") ?? "";
    if (document.activeElement !== this.inputs.filter) this.inputs.filter.value = params.get("name") ?? "";
    const shares = cloud.shares(className), part = (params.get("name") ?? "").toLowerCase(), range = this.range();
    const shown = index =>
      (!part || cloud.names[index].toLowerCase().includes(part)) && (!range || within(shares[index], range));
    this.drawLegend(shares, range);
    this.heat.set({ groups: groups(cloud, params.get("group") ?? "", className), shares, names: cloud.names, shown,
      classesOf: index => cloud.ofTree(index) });
    const left = part || range ? shares.reduce((sum, _, index) => sum + (shown(index) ? 1 : 0), 0) : cloud.size;
    fill(this.told, left < cloud.size && `${count(left)} of ${count(cloud.size)} trees`,
      this.heat.each > 1 && ` Each cell stands for ${this.heat.each} trees and shows the fullest.`);
    this.heat.canvas.setAttribute("aria-label",
      `Map of ${several(cloud.size, "tree")}, coloured by ${className || "the fullest class"}. Arrows move, Enter opens.`);
  }

  drawLegend(shares, range) {
    const bins = new Array(BINS + 1).fill(0);
    for (const one of shares) if (one >= 0) bins[one > 1 ? BINS : Math.min(BINS - 1, Math.floor(one * BINS))] += 1;
    const most = Math.max(1, ...bins);
    let begun = -1;
    const choose = (one, other) => {
      const low = Math.min(one, other), high = Math.max(one, other) + 1;
      const text = `${low * 10}-${high > BINS ? 100_000_000 : high * 10}`;
      change({ share: this.params.get("share") === text ? "" : text });
    };
    const over = bins[BINS] > 0;
    const buttons = bins.slice(0, over ? BINS + 1 : BINS).map((number, bin) => {
      const words = bin === BINS ? "over 100 %" : `${bin * 10} to ${bin * 10 + 10} %`;
      const chosen = range && bin / BINS >= range[0] - 1e-9 && bin / BINS < range[1] - 1e-9;
      return h("button", {
        type: "button", class: range && !chosen ? "off" : null, "aria-pressed": Boolean(chosen),
        "data-bin": bin, title: `${words}: ${several(number, "tree")}`, "aria-label": `${words}: ${several(number, "tree")}`,
        onpointerdown: () => { begun = bin; },
        onpointerup: () => { if (begun >= 0) choose(begun, bin); begun = -1; },
        onkeydown: event => { if (event.key === "Enter" || event.key === " ") { event.preventDefault(); choose(bin, bin); } },
      }, h("span", { style: { height: `${number ? Math.max(2, (number / most) * 28) : 0}px` } }),
      h("i", { style: { background: bin === BINS ? "var(--bad)" : colourOf((bin + 0.5) / BINS) } }));
    });
    fill(this.legend, h("span", { class: "legend-ends" }, "0 %"), buttons,
      h("span", { class: "legend-ends" }, over ? "over" : "100 %"),
      range && h("button", { type: "button", class: "bare clear", title: "Show all shares", onclick: () => change({ share: "" }) }, "×"));
  }

  hover(index, place) {
    this.tip.hidden = index < 0;
    if (index < 0) return;
    const { cloud } = this, all = cloud.ofTree(index), most = all.slice(0, 6);
    const words = most.map(one => `${one.className} ${percent(one.share)}`);
    fill(this.tip, h("strong", {}, cloud.names[index]),
      most.map(one => h("div", { class: "line" }, h("span", {}, one.className),
        h("span", { class: "name" }, `${count(one.used)} of ${amount(one.className, one.capacity)}`),
        bar(one.used, one.capacity))),
      all.length > most.length && h("div", { class: "faint" }, `and ${several(all.length - most.length, "class", "classes")} more`),
      all.length === 0 && h("div", { class: "faint" }, "No inventory"),
      h("div", { class: "faint" }, several(cloud.providers[index], "provider")));
    const width = this.tip.offsetWidth, right = place.x + place.width + 10;
    const x = right + width > this.box.clientWidth ? Math.max(0, place.x - width - 10) : right;
    const room = this.box.clientHeight - this.tip.offsetHeight;
    this.tip.style.transform = `translate(${x}px, ${Math.max(0, Math.min(place.y, Math.max(room, 0)))}px)`;
    if (document.activeElement === this.heat.canvas) say(`${cloud.names[index]}: ${words.join(", ") || "no inventory"}`);
  }

  openDrawer(root, before) {
    this.drawer.hidden = !root;
    if (!root) {
      if (before && this.heat) this.heat.canvas.focus({ preventScroll: true });
      return;
    }
    if (root === before) return;
    const body = h("div", {});
    const close = h("button", { type: "button", class: "quiet", onclick: () => change({ tree: "" }) }, "Close", " ", h("kbd", {}, "Esc"));
    const heading = h("h2", {}, short(root));
    fill(this.drawer, h("div", { class: "head" }, heading, h("a", { class: "push", href: href("tree", { id: root }) }, "Open the tree"), close), body);
    into(body, () => treeView(root, { title: heading }), found => found);
    close.focus({ preventScroll: true });
  }

  escape() {
    if (!this.params.get("tree")) return false;
    change({ tree: "" });
    return true;
  }
}

const figure = (words, number, note, more) =>
  h("div", { class: "figure" }, h("dt", { title: words }, words), h("dd", {}, number, note && [" ", h("small", {}, note)]), more);

const within = (one, [low, high]) => one >= low - 1e-9 && (one < high - 1e-9 || (high === 1 && one <= 1));

/** The trees in groups, each in the order of names, with its own share used. */
function groups(cloud, by, className) {
  const found = new Map();
  for (let index = 0; index < cloud.size; index++) {
    const key = by === "none" ? "" : by === "name" ? beginning(cloud.names[index]) : cloud.sets[index];
    const group = found.get(key);
    if (group) group.push(index);
    else found.set(key, [index]);
  }
  const compare = new Intl.Collator("en", { numeric: true }).compare;
  const made = [...found].map(([key, indices]) => {
    indices.sort((one, other) => compare(cloud.names[one], cloud.names[other]));
    const used = groupShare(cloud, indices, className);
    const note = noteOf(indices, used, className);
    const aggregates = by === "" ? cloud.aggregateSets[key] : [];
    return { indices, share: used, ...labels(by, key, aggregates, cloud, indices, note) };
  });
  made.sort((one, other) => compare(one.label, other.label));
  return together(made, cloud, className);
}

const noteOf = (indices, used, className) =>
  [several(indices.length, "tree"), used < 0 ? `no ${className || "inventory"}` : `${percent(used)} used`];

/** The groups, the smallest of too many together in one. */
function together(made, cloud, className) {
  if (made.length <= MOST_GROUPS) return made;
  const large = new Set([...made].sort((one, other) => other.indices.length - one.indices.length).slice(0, MOST_GROUPS - 1));
  const small = made.filter(one => !large.has(one)), indices = small.flatMap(one => one.indices);
  const used = groupShare(cloud, indices, className);
  return [...made.filter(one => large.has(one)),
    { label: `${count(small.length)} smaller groups`, note: noteOf(indices, used, className), indices, share: used }];
}

function labels(by, key, aggregates, cloud, indices, note) {
  if (by === "none") return { label: "All trees", note };
  if (by === "name") return { label: key, note };
  const common = beginningOfAll(cloud.names[indices[0]], cloud.names[indices.at(-1)]);
  if (!aggregates.length) return { label: common || "In no aggregate", note: common ? [...note, "in no aggregate"] : note };
  const more = aggregates.length - NAMED_AGGREGATES;
  const ids = aggregates.slice(0, NAMED_AGGREGATES).map(short).join(", ") + (more > 0 ? ` and ${more} more` : "");
  return { label: common || cut(ids, 40), note: common ? [...note, ids] : note };
}

const beginning = text => /^.*?(?=[-._]?[^-._]*$)/.exec(text)[0] || text;

/** What the first and the last of sorted names have in common, up to a separator. */
function beginningOfAll(first, last) {
  if (first === last) return first;
  let length = 0;
  while (length < first.length && first[length] === last[length]) length += 1;
  return first.slice(0, length).replace(/[^-._]*$/, "").replace(/[-._]+$/, "");
}

/** Share used of a group: of the chosen class, or of the class that is fullest in the group as a whole. */
function groupShare(cloud, indices, className) {
  let most = -1;
  for (const one of className ? [className] : cloud.classNames) {
    const { capacity, used } = cloud.classes[one];
    let all = 0, taken = 0;
    for (const index of indices) { all += capacity[index]; taken += used[index]; }
    most = Math.max(most, share(taken, all));
  }
  return most;
}
