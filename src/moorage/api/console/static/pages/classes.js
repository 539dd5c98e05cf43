/** Classes: capacity, use and reservations by resource class, in the whole cloud or with a trait. */

import { request } from "../api.js";
import { overview, share } from "../cloud.js";
import { amount, count, cut, debounced, fill, h, percent, several } from "../dom.js";
import { bar, emptyCloud, into, table } from "../parts/elements.js";
import { change, href } from "../router.js";

const PAGE = 5000;
const PAGES_AT_ONCE = 10;

export const title = "Classes";

export function render(main, params) {
  const page = new ClassesPage(main);
  page.update(params);
  return page;
}

class ClassesPage {
  constructor(main) {
    this.body = h("div", {});
    this.traits = h("section", { class: "panel", style: { "margin-top": "12px" }, "aria-label": "By trait" });
    this.sums = null;
    fill(main, h("div", { class: "title" }, h("h1", {}, "Classes"), (this.told = h("span", { class: "soft" }))), this.body, this.traits);
    this.traits.hidden = true;
    this.stop = new AbortController();
    into(this.body, () => overview(), cloud => this.show(cloud));
  }

  destroy() {
    this.stop.abort();
  }

  update(params) {
    this.trait = params.get("trait") ?? "";
    this.part = params.get("find") ?? "";
    if (this.sums) this.showTraits();
  }

  show(cloud) {
    this.cloud = cloud;
    fill(this.told, `at revision ${count(cloud.revision)}`);
    if (!cloud.size) return emptyCloud();
    this.count();
    this.table = h("section", { class: "panel", "aria-label": "By class" });
    this.showClasses();
    return this.table;
  }

  showClasses() {
    const { cloud, sums } = this;
    const reserved = className => {
      if (!sums) return h("span", { class: "faint" }, "…");
      const found = sums.classes.get(className);
      return found ? amount(className, found.reserved) : "0";
    };
    fill(this.table, table(
      [{ title: "Class" }, { title: "Used", wide: true }, { title: "Share", number: true }, { title: "In use", number: true },
        { title: "Capacity", number: true }, { title: "Free", number: true }, { title: "Reserved", number: true }, { title: "Trees", number: true }],
      cloud.classNames.map(className => {
        const { used, capacity, trees } = cloud.totals[className];
        return [h("a", { href: href("map", { class: className }), title: `The map by ${className}` }, className),
          bar(used, capacity, { label: `${className} used` }), percent(share(used, capacity)), amount(className, used), amount(className, capacity),
          amount(className, Math.max(0, capacity - used)), reserved(className), count(trees)];
      }),
      { caption: "Capacity is (total − reserved) × allocation ratio." }));
  }

  /** Adds up all providers, a page at a time: the overview has neither what is reserved nor traits. */
  async count() {
    const sums = { classes: new Map(), traits: new Map(), providers: 0, next: null };
    this.traits.hidden = false;
    const read = async () => {
      for (let page = 0; page < PAGES_AT_ONCE; page++) {
        const query = { fields: "inventories,used,traits", limit: PAGE, ...(sums.next ? { after: sums.next } : {}) };
        const { data } = await request("moorage/v1/providers", { query, signal: this.stop.signal });
        for (const one of data.providers) add(sums, one);
        sums.next = data.next;
        if (!data.next) break;
        fill(this.traits, h("p", { class: "soft", role: "status" }, `Counting: ${several(sums.providers, "provider")} so far`));
      }
      return (this.sums = sums);
    };
    this.more = () => into(this.traits, read, () => { this.showClasses(); return this.traitParts(); });
    this.more();
  }

  showTraits() {
    fill(this.traits, this.traitParts());
  }

  traitParts() {
    const { sums } = this, part = this.part.toLowerCase();
    const rows = [...sums.traits].filter(([name]) => name.toLowerCase().includes(part))
      .sort(([one, first], [other, second]) => second.providers - first.providers || (one < other ? -1 : 1));
    const filter = h("input", {
      type: "search", id: "find-trait", value: this.part, placeholder: "Part of a trait", "aria-label": "Show traits whose name has",
      oninput: debounced(event => { change({ find: event.target.value }, { replace: true }); document.getElementById("find-trait")?.focus(); }, 200),
    });
    return [
      h("div", { class: "row", style: { "margin-bottom": "8px" } }, h("h2", {}, "By trait"), filter,
        h("span", { class: "soft" }, sums.next ? `Counted the first ${several(sums.providers, "provider")}.` : `Of ${several(sums.providers, "provider")}.`),
        sums.next && h("button", { type: "button", class: "quiet", onclick: () => this.more() }, "Count on")),
      this.trait && this.chosen(),
      rows.length
        ? table([{ title: "Trait" }, { title: "Providers", number: true }, { title: "Fullest class of these", wide: true }, { title: "", number: true }],
          rows.map(([name, { providers, classes }]) => {
            const all = [...classes].map(([className, sum]) => ({ className, ...sum, part: share(sum.used, sum.capacity) }))
              .sort((one, other) => other.part - one.part);
            return [h("a", { href: href("classes", { trait: name, find: this.part }), title: name, "aria-current": name === this.trait ? "true" : null }, cut(name, 48)),
              count(providers), all.length ? bar(all[0].used, all[0].capacity, { label: all[0].className }) : h("span", { class: "faint" }, "no inventory of their own"),
              all.length ? `${all[0].className} ${percent(all[0].part)}` : ""];
          }))
        : h("p", { class: "soft" }, part ? "No trait has this in its name." : "No provider has a trait."),
    ];
  }

  /** Classes of the providers that have the chosen trait. */
  chosen() {
    const found = this.sums.traits.get(this.trait);
    const head = h("div", { class: "row" }, h("h3", {}, this.trait), h("a", { href: href("search", { q: `resources=VCPU:1&required=${this.trait}` }) }, "Search with it"),
      h("button", { type: "button", class: "bare", onclick: () => change({ trait: "" }) }, "Close"));
    if (!found) return h("div", { style: { "margin-bottom": "12px" } }, head, h("p", { class: "soft" }, "No provider has this trait."));
    const rows = [...found.classes].sort().map(([className, { used, capacity, reserved }]) => [className, bar(used, capacity, { label: className }),
      percent(share(used, capacity)), amount(className, used), amount(className, capacity), amount(className, reserved)]);
    return h("div", { style: { "margin-bottom": "16px" } }, head, rows.length
      ? table([{ title: "Class" }, { title: "Used", wide: true }, { title: "Share", number: true }, { title: "In use", number: true }, { title: "Capacity", number: true }, { title: "Reserved", number: true }], rows)
      : h("p", { class: "soft" }, `${several(found.providers, "provider")} with this trait, none with an inventory of its own.`));
  }
}

function add(sums, { inventories, used, traits }) {
  sums.providers += 1;
  const amounts = Object.entries(inventories).map(([className, { total, reserved, allocation_ratio: ratio }]) =>
    [className, { capacity: Math.floor((total - reserved) * ratio), used: used[className] ?? 0, reserved }]);
  addAll(sums.classes, amounts);
  for (const trait of traits) {
    let found = sums.traits.get(trait);
    if (!found) sums.traits.set(trait, (found = { providers: 0, classes: new Map() }));
    found.providers += 1;
    addAll(found.classes, amounts);
  }
}

function addAll(target, amounts) {
  for (const [className, { capacity, used, reserved }] of amounts) {
    const sum = target.get(className) ?? { capacity: 0, used: 0, reserved: 0 };
    sum.capacity += capacity;
    sum.used += used;
    sum.reserved += reserved;
    target.set(className, sum);
  }
}
