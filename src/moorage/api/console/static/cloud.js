/** The overview of the whole cloud, kept while its pages are shown, with what is derived from it. */

import { request } from "./api.js";

const FRESH_MILLISECONDS = 4000;
const USUAL = ["VCPU", "MEMORY_MB", "DISK_GB", "PCPU"];

let kept = null;
let coming = null;

/** The overview; a recent one is not read again unless `anew`. */
export async function overview({ anew = false } = {}) {
  if (kept && !anew && Date.now() - kept.at < FRESH_MILLISECONDS) return kept;
  coming ??= read().finally(() => { coming = null; });
  return coming;
}

export const lastOverview = () => kept;
export const forget = () => { kept = null; };

async function read() {
  const { data, revision } = await request("moorage/v1/overview");
  const before = kept;
  kept = new Overview(data, revision);
  if (before) {
    const seconds = (kept.at - before.at) / 1000;
    kept.changesPerSecond = Math.max(0, kept.revision - before.revision) / seconds;
  }
  return kept;
}

export class Overview {
  constructor(data, revision) {
    this.at = Date.now();
    this.revision = revision;
    this.changesPerSecond = null;
    const { trees, classes } = data;
    Object.assign(this, { roots: trees.root, names: trees.name, providers: trees.providers });
    this.sets = trees.aggregate_set;
    this.aggregateSets = data.aggregate_sets;
    this.size = this.roots.length;
    this.classes = classes;
    this.classNames = Object.keys(classes).sort(
      (one, other) => place(one) - place(other) || (one < other ? -1 : 1),
    );
    this.totals = {};
    this._shares = new Map();
    for (const className of this.classNames) this.totals[className] = totals(classes[className]);
  }

  /** Share used of a class, or of the fullest class (""), by tree; -1 where there is none of it. */
  shares(className = "") {
    let found = this._shares.get(className);
    if (!found) this._shares.set(className, (found = className ? this._one(className) : this._fullest()));
    return found;
  }

  _one(className) {
    const { capacity, used } = this.classes[className] ?? { capacity: [], used: [] };
    return Float32Array.from({ length: this.size }, (_, index) => share(used[index], capacity[index]));
  }

  _fullest() {
    const all = new Float32Array(this.size).fill(-1);
    for (const className of this.classNames) {
      const { capacity, used } = this.classes[className];
      for (let index = 0; index < all.length; index++) {
        const one = share(used[index], capacity[index]);
        if (one > all[index]) all[index] = one;
      }
    }
    return all;
  }

  /** Classes of one tree with capacity, use and share, fullest first. */
  ofTree(index) {
    return this.classNames
      .map(className => {
        const capacity = this.classes[className].capacity[index], used = this.classes[className].used[index];
        return { className, capacity, used, share: share(used, capacity) };
      })
      .filter(one => one.share >= 0)
      .sort((one, other) => other.share - one.share);
  }

  /** Positions of the trees that had other amounts in another overview, or were not there. */
  differing(other) {
    return this.roots.map((_, index) => index).filter(index => {
      const at = other.indexOf(this.roots[index]);
      return at < 0 || this.classNames.some(one => this.classes[one].used[index] !== (other.classes[one]?.used[at] ?? 0)
        || this.classes[one].capacity[index] !== (other.classes[one]?.capacity[at] ?? 0));
    });
  }

  /** Position of a tree by its root; -1 if there is none. */
  indexOf(root) {
    this._positions ??= new Map(this.roots.map((uuid, index) => [uuid, index]));
    return this._positions.get(root) ?? -1;
  }
}

const place = className => (USUAL.includes(className) ? USUAL.indexOf(className) : USUAL.length);

/** Share used; -1 without capacity and use, Infinity with use alone. */
export function share(used, capacity) {
  if (capacity > 0) return used / capacity;
  return used > 0 ? Infinity : -1;
}

function totals({ capacity, used }) {
  const sum = { capacity: 0, used: 0, trees: 0 };
  for (let index = 0; index < capacity.length; index++) {
    if (capacity[index] === 0 && used[index] === 0) continue;
    sum.capacity += capacity[index];
    sum.used += used[index];
    sum.trees += 1;
  }
  return sum;
}
