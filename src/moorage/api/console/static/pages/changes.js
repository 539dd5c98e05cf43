/** Changes: what was written, the newest first, as it happens; each with its values before and after. */

import { can, request } from "../api.js";
import { overview } from "../cloud.js";
import { count, cut, debounced, fill, h, say, several } from "../dom.js";
import { back, Follower, present } from "../follow.js";
import { changeLine, changeView, clock, learnNames, who } from "../parts/change.js";
import { problem, state, waiting } from "../parts/elements.js";
import { change, href } from "../router.js";

const PAGE = 50;
const MOST_ROWS = 500;
const SPOKEN_MILLISECONDS = 5000;
const TYPING_MILLISECONDS = 400;
const UUID = /^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$/i;
const KINDS = [
  ["", "all kinds"], ["allocations", "claims"], ["provider", "providers"], ["inventory", "inventories"],
  ["traits,aggregates", "traits and aggregates of providers"], ["leases", "leases"], ["reshape", "reshapes"], ["batch", "several at once"], ["resource_class,trait,names", "names of classes and traits"],
  ["providers,consumers,rows,history", "copies, repairs, new histories"],
];
const FILTERS = ["kinds", "tree", "consumer", "project"];

export const title = "Changes";

export function render(main, params) {
  const page = new ChangesPage(main);
  page.update(params);
  return page;
}

class ChangesPage {
  constructor(main) {
    this.told = h("span", { class: "soft" });
    this.pauser = h("button", { type: "button", class: "quiet", onclick: () => this.pause(!this.paused) });
    this.tools = h("div", { class: "toolbar filters", role: "group", "aria-label": "Which changes are shown" });
    this.rows = h("tbody", {});
    this.table = h("div", { class: "scroll" }, h("table", { class: "stack log" },
      h("thead", {}, h("tr", {}, ["Revision", "When", "Kind", "What", "Who"].map(one => h("th", { scope: "col" }, one)))), this.rows));
    this.note = h("div", { role: "status" });
    this.end = h("div", { class: "row log-end" });
    this.drawer = h("aside", { class: "drawer", hidden: true, "aria-label": "The chosen change" });
    this.rows.addEventListener("keydown", event => this.arrows(event));
    fill(main, h("div", { class: "title" }, h("h1", {}, "Changes"), this.told, h("span", { class: "push" }, this.pauser)),
      this.tools, this.note, h("section", { class: "panel", "aria-label": "Changes, the newest first" }, this.table, this.end));
    main.append(this.drawer);
    this.speak = debounced(() => { say(`${several(this.unsaid, "new change")}.`); this.unsaid = 0; }, SPOKEN_MILLISECONDS);
    this.unsaid = 0;
    this.typing = debounced((name, value) => this.filter(name, value), TYPING_MILLISECONDS);
    this.buildTools();
  }

  destroy() {
    this.stop?.abort();
    this.follower?.close();
    this.speak.cancel();
    this.typing.cancel();
  }

  escape() {
    if (this.drawer.hidden) return false;
    change({ change: "" });
    return true;
  }

  key(letter) {
    if (letter === "p" && this.follower) this.pause(!this.paused);
  }

  /** Up and down move between changes; Enter opens one, as it is a link. */
  arrows(event) {
    const step = { ArrowDown: "nextElementSibling", ArrowUp: "previousElementSibling" }[event.key];
    const row = event.target.closest("tr")?.[step];
    if (!step || !row) return;
    event.preventDefault();
    row.querySelector("a").focus();
  }

  update(params) {
    const before = this.params;
    this.params = params;
    const same = before && [...FILTERS, "before"].every(one => before.get(one) === params.get(one));
    if (!same) this.begin();
    this.open(params.get("change"));
  }

  get query() {
    const { params } = this;
    const query = { kinds: params.get("kinds"), tree: params.get("tree"), consumer: params.get("consumer"), project_id: params.get("project") };
    return Object.fromEntries(Object.entries(query).filter(([, value]) => value));
  }

  /* The filters */

  buildTools() {
    const field = (name, label, hint) => {
      const input = h("input", { id: `by-${name}`, type: "search", placeholder: hint, spellcheck: "false", autocomplete: "off",
        oninput: event => this.typing(name, event.target.value.trim()),
        onkeydown: event => { if (event.key === "Enter") { this.typing.cancel(); this.filter(name, event.target.value.trim()); } } });
      return [input, h("label", { class: "field" }, `${label} `, input)];
    };
    const kinds = h("select", { id: "by-kinds", onchange: event => this.filter("kinds", event.target.value) });
    const [tree, treeField] = field("tree", "Tree", "name or UUID"), [consumer, consumerField] = field("consumer", "Consumer", "UUID"),
      [project, projectField] = field("project", "Project", "id");
    this.inputs = { kinds, tree, consumer, project };
    this.wrong = h("span", { class: "bad", role: "status" });
    fill(this.tools, h("label", { class: "field" }, "Kind ", kinds), treeField, consumerField, projectField, this.wrong);
  }

  showFilters() {
    const { kinds, ...fields } = this.inputs, chosen = this.params.get("kinds") ?? "";
    const known = KINDS.some(([value]) => value === chosen) ? KINDS : [...KINDS, [chosen, chosen]];
    fill(kinds, known.map(([value, text]) => h("option", { value, selected: value === chosen }, text)));
    for (const [name, input] of Object.entries(fields)) if (document.activeElement !== input) input.value = this.params.get(name) ?? "";
    fill(this.wrong);
    const tree = this.params.get("tree");
    if (tree && document.activeElement !== fields.tree)
      overview().then(cloud => { if (fields.tree.value === tree) fields.tree.value = cloud.names[cloud.indexOf(tree)] ?? tree; }, () => {});
  }

  /** Takes a filter into the address, once it can be one. */
  async filter(name, value) {
    fill(this.wrong);
    if (name === "tree" && value && !UUID.test(value)) {
      const cloud = await overview().catch(() => null), at = cloud ? cloud.names.indexOf(value) : -1;
      if (at < 0) { fill(this.wrong, `No tree has the name “${cut(value, 40)}”.`); return; }
      value = cloud.roots[at];
    }
    if (name === "consumer" && value && !UUID.test(value)) { fill(this.wrong, "A consumer is named by its whole UUID."); return; }
    change({ [name]: value, before: "" }, { replace: true });
  }

  /* Reading */

  /** Shows the newest changes and follows on, or a page of the past. */
  async begin() {
    this.stop?.abort();
    this.follower?.close();
    this.follower = null;
    this.paused = false;
    const { signal } = (this.stop = new AbortController());
    const past = Number(this.params.get("before")) || 0;
    this.showFilters();
    fill(this.told);
    fill(this.end);
    this.pauser.hidden = true;
    if (!can("changes")) { this.instead(silent("It lists no feature “changes”.")); return; }
    fill(this.note, this.rows.hasChildNodes() ? "" : waiting());
    try {
      const now = await present(this.query, signal);
      const upper = past ? Math.min(past - 1, now.revision) : now.revision;
      const found = await back(this.query, upper, PAGE, signal);
      await learnNames(found.changes);
      if (signal.aborted) return;
      fill(this.note);
      fill(this.rows);
      this.floor = found.after;
      this.begins = found.begins;
      this.add([...found.changes].reverse());
      this.table.hidden = !found.changes.length;
      this.ending(past);
      if (past) fill(this.told, h("i", { class: "dot still" }), `up to revision ${count(upper)} of ${count(now.revision)} `);
      else this.follow(now);
    } catch (error) {
      if (!signal.aborted) this.fail(error);
    }
  }

  follow({ revision, epoch }) {
    const { signal } = this.stop;
    let turn = Promise.resolve();
    this.follower = new Follower({
      query: this.query, position: revision, epoch,
      took: changes => {
        turn = turn.then(() => learnNames(changes)).then(() => {
          if (signal.aborted) return;
          this.add(changes, true);
          this.ending();
        });
      },
      told: how => { if (!signal.aborted) this.tell(how); },
    });
    this.follower.start();
  }

  pause(paused) {
    this.paused = paused;
    if (paused) this.follower.stop();
    else this.follower.start();
  }

  tell({ state: how, position, reason, seconds }) {
    const revision = position === null ? "" : ` revision ${count(position)}`;
    const again = `The next try is in ${Math.max(1, Math.round(seconds))} s.`;
    const words = {
      live: ["dot", `live, at${revision}`],
      still: ["dot still", `paused at${revision}; nothing is lost`],
      paged: ["dot", `at${revision}, read every ${seconds} s: all places to wait in are taken`],
      waiting: ["dot still", `at${revision}. ${reason?.title ?? "The connection was cut"}. ${again}`],
      over: ["dot still", `ended at${revision}`],
    }[how];
    this.pauser.hidden = how === "over";
    this.pauser.textContent = this.paused ? "Go on" : "Pause";
    const text = words[1];
    if (this.saidHow !== how && this.saidHow) say(how === "live" ? "Live." : text);
    this.saidHow = how;
    if (this.told.textContent !== text) fill(this.told, h("i", { class: words[0] }), text);
    if (how === "over") this.fail(reason);
  }

  /** Says what went wrong, and how to go on. What is shown stays. */
  fail(error) {
    const anew = () => (this.params.get("before") ? change({ before: "" }) : this.begin());
    const go = text => h("button", { type: "button", onclick: anew }, text);
    const { compacted, restart_after: restart } = error.facts ?? {};
    if (error.code === "compacted")
      fill(this.note, notice("Changes are missing here", `The journal no longer has revisions up to ${count(compacted)}, and this page had not seen all of them. Nothing is left out in silence: what is shown below ends before the gap. The present revision is ${count(restart)}.`, go("Go on with the newest")));
    else if (error.code === "different_history")
      fill(this.note, notice("The service has begun a new history", "Its database was restored or replaced, so its revisions do not continue those below. What was known of the earlier history may no longer hold.", go("Show the new history")));
    else if (error.status === 404) this.instead(silent(error.detail));
    else if (error.status === 403) {
      const project = this.params.get("project");
      this.instead(state("This token may not read these changes", h("p", {}, error.message), h("p", {}, project
        ? "A reader of a project may read the changes of its own project only."
        : "A reader of a project may read the changes of its own consumers: enter the project above.")));
    } else fill(this.note, problem(error, anew));
  }

  instead(what) {
    fill(this.note, what);
    fill(this.rows);
    this.table.hidden = true;
  }

  /* Rows */

  /** Puts changes, the oldest first, above all others. The oldest rows go. */
  add(changes, isNew = false) {
    if (!changes.length) return;
    this.table.hidden = false;
    const shown = changes.slice(-MOST_ROWS);
    this.rows.prepend(...shown.map(one => this.row(one, isNew)).reverse());
    while (this.rows.children.length > MOST_ROWS) {
      this.rows.lastChild.remove();
      this.begins = false;
      this.floor = this.rows.lastChild.change.revision - 1;
    }
    this.mark();
    if (!isNew) return;
    this.unsaid += changes.length;
    if (this.unsaid === changes.length) this.speak();
  }

  row(one, isNew) {
    const row = h("tr", { class: isNew ? "new" : null },
      h("td", {}, h("a", { href: this.address(one.revision), "aria-label": `Revision ${one.revision}, ${one.kind}` }, count(one.revision))),
      h("td", { class: "term" }, clock(one.at)), h("td", {}, h("code", {}, one.kind)),
      h("td", { class: "what" }, changeLine(one)),
      h("td", { class: "soft" }, cut(who(one), 40)));
    row.change = one;
    return row;
  }

  address(revision) {
    return href("changes", { ...Object.fromEntries(this.params), change: revision });
  }

  ending(past = 0) {
    const shown = this.rows.children.length, revision = `revision ${count(this.floor + 1)}`;
    const words = `${shown ? several(shown, "change") : "No change that these filters leave"}, down to ${revision}`;
    fill(this.end, h("span", { class: "soft" }, words, this.begins ? ", where the journal begins." : "."),
      !this.begins && h("a", { href: href("changes", { ...Object.fromEntries(this.params), change: "", before: this.floor + 1 }) }, "Earlier changes"),
      past > 0 && h("a", { href: href("changes", { ...Object.fromEntries(this.params), change: "", before: "" }) }, "The newest, live"));
  }

  mark() {
    const chosen = Number(this.params.get("change"));
    for (const row of this.rows.children) {
      if (row.change.revision === chosen) row.setAttribute("aria-current", "true");
      else row.removeAttribute("aria-current");
      row.querySelector("a").setAttribute("href", this.address(row.change.revision));
    }
  }

  /* One change */

  open(revision) {
    this.mark();
    const before = this.opened;
    this.opened = revision;
    this.drawer.hidden = !revision;
    if (!revision) {
      if (before) this.rowOf(before)?.querySelector("a").focus({ preventScroll: true });
      return;
    }
    if (revision === before) return;
    const body = h("div", {}, waiting());
    const close = h("button", { type: "button", class: "quiet", onclick: () => change({ change: "" }) }, "Close", " ", h("kbd", {}, "Esc"));
    fill(this.drawer, h("div", { class: "head" }, h("h2", {}, `Change ${count(Number(revision))}`), h("span", { class: "push" }, close)), body);
    close.focus({ preventScroll: true });
    this.find(Number(revision)).then(one => { if (this.opened === revision) fill(body, one); });
  }

  rowOf(revision) {
    return [...this.rows.children].find(row => row.change.revision === Number(revision));
  }

  async find(revision) {
    const shown = this.rowOf(revision);
    try {
      const query = { after: Math.max(0, revision - 1), limit: 1 }, project = this.params.get("project");
      if (project) query.project_id = project;
      const one = shown?.change ?? (await request("moorage/v1/changes", { query })).data.changes[0];
      if (one?.revision !== revision) return h("p", {}, `There is no change with revision ${count(revision)} that may be shown here.`);
      await learnNames([one]);
      return changeView(one);
    } catch (error) {
      return error.code === "compacted" ? h("p", {}, `The journal no longer has revision ${count(revision)}: it begins after ${count(error.facts.compacted)}.`)
        : error.code === "different_history" ? h("p", {}, `Revision ${count(revision)} is still to come in this history.`)
        : problem(error);
    }
  }
}

const notice = (heading, words, ...more) =>
  h("section", { class: "problem notice", role: "alert" }, h("h2", {}, heading), h("p", {}, words), more);

/** A service without a journal, and how it gets one. */
const silent = detail => state("This service does not record changes",
  h("p", {}, detail || "It keeps no journal."),
  h("p", {}, "To switch the journal on, set this in placement.conf of every process on the database, and restart them:"),
  h("pre", {}, h("code", {}, "[moorage]\njournal = full")),
  h("p", {}, "Changes are recorded from then on. What was written before is not known."));
