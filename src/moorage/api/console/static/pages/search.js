/** Search: an ask, built or pasted, and what it finds, or why it finds nothing. */

import { asksForSomething, newGroup, parse, queryIn, relaxed, toQuery } from "../ask.js";
import { can, mayWrite, namesOf, request } from "../api.js";
import { amount, count, cut, debounced, fill, h, say, several, short } from "../dom.js";
import { claimPanel } from "../parts/claim.js";
import { bar, heading, problem, state, waiting } from "../parts/elements.js";
import { explanationView } from "../parts/explanation.js";
import { change, href } from "../router.js";

const FIRST = 20;
const MOST = 500;
const SHARING = "MISC_SHARES_VIA_AGGREGATE";
const PAUSE_MILLISECONDS = 350;
const EXAMPLE = "resources=VCPU:2,MEMORY_MB:4096";

export const title = "Search";

let known = null;

/** Names of classes and traits, for completion. */
const names = () => (known ??= Promise.all([request("resource_classes"), request("traits")]).then(
  ([classes, traits]) => ({ classes: classes.data.resource_classes.map(one => one.name), traits: traits.data.traits }),
  error => { known = null; throw error; },
));

export function render(main, params) {
  const page = new SearchPage(main);
  page.update(params);
  return page;
}

class SearchPage {
  constructor(main) {
    this.box = h("textarea", {
      id: "query", rows: 3, spellcheck: "false", placeholder: `${EXAMPLE} – or a line of a log`, "aria-label": "Placement query",
      oninput: () => { this.typed = true; this.soon(); },
      onkeydown: event => { if (event.key === "Enter" && !event.shiftKey) { event.preventDefault(); this.soon.cancel(); this.note(); } },
    });
    this.form = h("div", { class: "ask" });
    this.answer = h("div", { "aria-busy": "false" });
    this.claim = h("div", {});
    this.soon = debounced(() => this.note(), PAUSE_MILLISECONDS);
    this.lists = h("div", {}, h("datalist", { id: "known-classes" }), h("datalist", { id: "known-traits" }));
    fill(main,
      heading("Search", "Find room for a request, or the reason why there is none."),
      h("div", { class: "split" },
        h("section", { class: "panel", "aria-label": "The request" }, h("h2", {}, "Query"), this.box,
          h("h2", { style: { margin: "12px 0 8px" } }, "The same as a form"), this.form, this.lists),
        h("section", { "aria-label": "The answer" }, this.claim, this.answer)));
    names().then(found => {
      const [classes, traits] = this.lists.children;
      fill(classes, found.classes.map(value => h("option", { value })));
      fill(traits, found.traits.map(value => h("option", { value })));
    }, () => {});
  }

  destroy() {
    this.soon.cancel();
    this.stop?.abort();
  }

  /** Takes the text of the box into the address, and searches. */
  note() {
    const text = this.box.value.trim(), found = queryIn(text);
    const query = found === text ? text : toQuery(parse(found));
    change({ q: query, limit: "", in_tree: "" }, { replace: true });
  }

  update(params) {
    let query = params.get("q") ?? "";
    const tree = params.get("in_tree");
    if (!query && tree) query = `${EXAMPLE}&in_tree=${tree}`;
    const limit = Number(params.get("limit")) || FIRST;
    const typing = this.typed && document.activeElement === this.box;
    this.typed = false;
    if (!typing && this.box.value !== query) this.box.value = query;
    if (this.query === query && this.limit === limit) return;
    const ask = parse(query);
    if (!this.building || toQuery(this.ask) !== toQuery(ask)) { this.ask = ask; this.build(); }
    this.building = false;
    Object.assign(this, { query, limit });
    this.run();
  }

  /** The ask as rows. */
  build() {
    const { ask } = this;
    const changed = () => {
      this.building = true;
      this.box.value = toQuery(ask);
      this.soon();
    };
    const again = () => { this.build(); changed(); };
    const suffixes = ask.groups.filter(one => one.suffix);
    fill(this.form,
      ask.groups.map((group, position) => this.group(group, position, changed, again)),
      h("div", { class: "row group-end" },
        h("button", { type: "button", class: "quiet", onclick: () => { ask.groups.push(newGroup(`_${suffixes.length + 1}`)); ask.policy ||= "none"; again(); } }, "Add a group"),
        suffixes.length > 1 && h("label", { class: "field" }, "Groups may share a provider ",
          h("select", { onchange: event => { ask.policy = event.target.value; changed(); } },
            h("option", { value: "none", selected: ask.policy !== "isolate" }, "yes"),
            h("option", { value: "isolate", selected: ask.policy === "isolate" }, "no")))),
      (ask.subtrees.length > 0 || ask.rootRequired.length > 0) && h("div", { class: "chips", style: { "margin-top": "8px" } },
        ask.subtrees.map((one, at) => chip(`same subtree: ${one.join(", ")}`, "", () => { ask.subtrees.splice(at, 1); again(); })),
        ask.rootRequired.map((one, at) => chip(`root ${conditionWords(one)}`, one.how, () => { ask.rootRequired.splice(at, 1); again(); }))));
  }

  group(group, position, changed, again) {
    if (!group.resources.length) group.resources.push({ name: "", amount: 1 });
    const resource = (one, at) => h("div", { class: "resource" },
      h("input", { list: "known-classes", value: one.name, placeholder: "Class", spellcheck: "false", "aria-label": "Resource class",
        oninput: event => { one.name = event.target.value.trim(); changed(); } }),
      h("input", { type: "number", min: 1, value: one.amount, "aria-label": `Amount of ${one.name || "the class"}`,
        oninput: event => { one.amount = Number(event.target.value); changed(); } }),
      h("button", { type: "button", class: "bare", "aria-label": `Remove ${one.name || "this class"}`, onclick: () => { group.resources.splice(at, 1); again(); } }, "×"));
    const how = h("select", { "aria-label": "How the trait counts" },
      h("option", { value: "all" }, "required"), h("option", { value: "not" }, "forbidden"));
    const trait = h("input", {
      list: "known-traits", placeholder: "Add a trait", spellcheck: "false", "aria-label": "Add a trait",
      onchange: () => {
        const wanted = trait.value.trim();
        if (!wanted) return;
        group.required.push({ how: how.value, names: [wanted] });
        again();
      },
    });
    const only = this.ask.groups.length === 1;
    return h("fieldset", {},
      h("legend", {}, group.suffix ? `Group ${group.suffix}` : "Request"),
      group.resources.map(resource),
      h("div", { class: "row" },
        h("button", { type: "button", class: "bare", onclick: () => { group.resources.push({ name: "", amount: 1 }); this.build(); } }, "+ class"),
        !only && h("button", { type: "button", class: "bare push", onclick: () => { this.ask.groups.splice(position, 1); again(); } }, "Remove the group")),
      h("div", { class: "chips" },
        group.required.map((one, at) => chip(conditionWords(one), one.how, () => { group.required.splice(at, 1); again(); })),
        group.memberOf.map((one, at) => chip(`${one.how === "not" ? "not in" : "in"} aggregate ${one.names.map(short).join(" or ")}`, one.how === "not" ? "not" : "",
          () => { group.memberOf.splice(at, 1); again(); })),
        group.inTree && chip(`in the tree of ${short(group.inTree)}`, "", () => { group.inTree = ""; again(); })),
      h("div", { class: "add" }, trait, how));
  }

  async run() {
    this.stop?.abort();
    const stop = (this.stop = new AbortController());
    const { query, limit, answer } = this;
    if (this.offered !== query) { this.offered = null; fill(this.claim); }
    if (!asksForSomething(parse(query))) {
      fill(answer, state("What shall fit?",
        h("p", {}, "Paste the query of a request from a log of Nova, or fill in the form. The answer follows as you type."),
        h("p", {}, h("a", { href: href("search", { q: EXAMPLE }) }, EXAMPLE))));
      return;
    }
    answer.setAttribute("aria-busy", "true");
    if (!answer.hasChildNodes()) fill(answer, waiting("Searching…"));
    try {
      const shown = await this.find(query, limit, stop.signal);
      if (!stop.signal.aborted) fill(answer, shown);
    } catch (error) {
      if (!stop.signal.aborted) fill(answer, problem(error, () => this.run()));
    }
    if (!stop.signal.aborted) answer.setAttribute("aria-busy", "false");
  }

  async find(query, limit, signal) {
    const bounded = `${query.replace(/(^|&)limit=[^&]*/, "")}&limit=${limit}`;
    const { data, milliseconds } = await request("allocation_candidates", { query: bounded, signal }).catch(error => {
      if (error.status === 403 && can("order")) return places(query, limit, signal);
      throw error;
    });
    if (data.allocation_requests.length) this.offer(query);
    if (data.allocation_requests.length) return this.candidates(data, limit, milliseconds, signal);
    if (!can("explain"))
      return state("Nothing fits", h("p", {}, "No tree can serve this request now. This service does not explain why: its version has no feature “explain”."));
    const told = await request("moorage/v1/explanations", { body: { ask: { query } }, signal });
    say("Nothing fits. The reasons are shown.");
    return explanationView(told.data, ({ changes }) => {
      this.box.value = relaxed(query, changes, told.data.constraints);
      change({ q: this.box.value, limit: "", in_tree: "" });
    });
  }

  /** Offers to claim, if the service lets its console do so. A claim that was made stays in sight. */
  offer(query) {
    if (!mayWrite() || !can("claims") || this.offered === query) return;
    this.offered = query;
    fill(this.claim, claimPanel(query, () => this.run()));
  }

  async candidates({ allocation_requests: found, provider_summaries: summaries }, limit, milliseconds, signal) {
    const wanted = new Set(found.flatMap(one => Object.keys(one.allocations)).flatMap(one => [one, summaries[one]?.root_provider_uuid ?? one]));
    const named = await namesOf(wanted, signal).catch(error => {
      if (error.status === 403) return new Map();
      throw error;
    });
    const nameOf = uuid => named.get(uuid)?.name ?? short(uuid);
    const more = found.length >= limit && limit < MOST;
    say(`${several(found.length, "candidate")} found.`);
    return h("section", { class: "panel" },
      h("h2", {}, found.length >= limit ? `The first ${several(found.length, "candidate")}` : several(found.length, "candidate"),
        h("span", { class: "faint", style: { "font-weight": "400" } }, ` in ${Math.max(1, Math.round(milliseconds))} ms`)),
      h("div", {}, byTrees(found, summaries).map((one, position) => candidate(one, position, summaries, nameOf))),
      more && h("button", { type: "button", class: "quiet", onclick: () => change({ limit: Math.min(MOST, limit * 5) }) }, "Show more"));
  }
}

/** Candidates as a member of a project gets them: no amounts in use, and one for each tree. */
async function places(query, limit, signal) {
  const told = await request("moorage/v1/candidates", { body: { ask: { query }, limit }, signal });
  const summaries = {};
  const found = told.data.candidates.map(({ allocations, root }) => ({
    allocations: Object.fromEntries(Object.entries(allocations).map(([uuid, resources]) => {
      summaries[uuid] = { root_provider_uuid: root };
      return [uuid, { resources }];
    })),
  }));
  return { ...told, data: { allocation_requests: found, provider_summaries: summaries } };
}

/** The candidates of the same trees together, in the order in which they came. */
function byTrees(found, summaries) {
  const ways = new Map();
  for (const { allocations } of found) {
    // What other trees share comes last: it is the same in most candidates.
    const shares = root => (summaries[root]?.traits?.includes(SHARING) ? 1 : 0);
    const roots = [...new Set(Object.keys(allocations).map(one => summaries[one]?.root_provider_uuid ?? one))]
      .sort((one, other) => shares(one) - shares(other) || (one < other ? -1 : 1));
    const key = roots.join();
    if (!ways.has(key)) ways.set(key, { roots, ways: [] });
    ways.get(key).ways.push(allocations);
  }
  return [...ways.values()];
}

/** What some trees would give: the first way at once, the others on demand. */
function candidate({ roots, ways }, position, summaries, nameOf) {
  const first = Object.keys(ways[0])[0];
  const grant = one => grants(one, summaries, nameOf, roots);
  const box = h("div", {},
    h("div", { class: "row" }, roots.map((root, at) => [at > 0 && h("span", { class: "faint" }, "with"),
      h("a", { href: href("tree", { id: root, mark: roots.length > 1 ? root : first }) }, h("strong", { title: nameOf(root) }, cut(nameOf(root), 40)))])),
    grant(ways[0]));
  if (ways.length > 1) {
    const more = h("button", { type: "button", class: "bare", onclick: () => more.replaceWith(...ways.slice(1).map(grant)) },
      `${several(ways.length - 1, "more way")} on the same ${roots.length > 1 ? "trees" : "tree"}`);
    box.append(more);
  }
  return h("div", { class: "candidate" }, h("span", { class: "rank" }, count(position + 1)), box);
}

/** What one candidate takes, with what is used now. */
function grants(allocations, summaries, nameOf, roots) {
  const place = uuid => roots.indexOf(summaries[uuid]?.root_provider_uuid ?? uuid);
  const sorted = Object.entries(allocations).sort(([one], [other]) => place(one) - place(other));
  return h("div", { class: "grants" }, sorted.flatMap(([uuid, { resources }]) =>
    Object.entries(resources).map(([className, number], line) => {
      const { capacity = 0, used = 0 } = summaries[uuid]?.resources?.[className] ?? {};
      const words = capacity ? `${count(used)} of ${amount(className, capacity)} used` : "";
      const whole = capacity ? bar(used, capacity, { label: `${className}: ${words}, ${count(number)} more`, over: false }) : h("span");
      if (capacity) whole.prepend(h("i", { class: "more", style: { width: `${capacity ? Math.min(100, ((used + number) / capacity) * 100) : 0}%` } }));
      return [h("span", { title: nameOf(uuid), class: line || roots.includes(uuid) ? "faint" : null }, line ? "″" : cut(nameOf(uuid), 32)),
        h("span", { class: "number" }, `${className} +${amount(className, number)}`), whole, h("span", { class: "faint number" }, words)];
    })));
}

const conditionWords = ({ how, names: list }) => (how === "not" ? `not ${list[0]}` : list.join(" or "));

const chip = (text, how, remove) =>
  h("span", { class: `chip ${how === "not" ? "not" : how === "any" ? "any" : ""}` }, text,
    h("button", { type: "button", class: "bare", "aria-label": `Remove ${text}`, onclick: remove }, "×"));
