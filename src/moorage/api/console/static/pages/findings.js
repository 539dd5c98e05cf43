/** Findings: what reports of what is really there and the account disagree about, and how that is settled. */

import { can, namesOf, request } from "../api.js";
import { ago, count, cut, fill, h, several, short } from "../dom.js";
import { chosenOf, consumerLink, decisions, field, heading, into, pageLinks, panel, providerLink, state, table } from "../parts/elements.js";
import { held } from "../parts/tree.js";
import { change, href } from "../router.js";

const LIMIT = 100;
const KINDS = ["leaked", "missing", "differs", "moved"];
const STATES = ["open", "suspect", "ignored", "acting", "quarantined"];
const WORDS = {
  ignored: "ignored until claim or report change",
  suspect: "nothing: the report has far fewer consumers than the one before",
  acting: "the service is acting",
  quarantined: "its lease is quarantined until an operator decides",
};

export const title = "Findings";

export function render(main, params) {
  const page = {
    update(next) {
      const query = { limit: LIMIT };
      for (const name of ["kind", "state", "source", "consumer", "after"]) if (next.get(name)) query[name] = next.get(name);
      const set = name => value => change({ [name]: value, after: "" });
      const body = panel();
      fill(main, heading("Findings", "What reports of what is really there and the account disagree about."),
        h("div", { class: "toolbar" }, chosenOf("Kind", query.kind, KINDS, set("kind")), chosenOf("State", query.state, STATES, set("state")),
          field("Source", { value: query.source ?? "", onchange: event => set("source")(event.target.value.trim()) }),
          query.consumer && h("a", { href: href("findings") }, `Not only ${short(query.consumer)}`)), body);
      if (!can("reports")) {
        fill(body, state("This service takes no reports"));
        return;
      }
      const read = async () => {
        const { data } = await request("moorage/v1/findings", { query });
        const named = await namesOf(data.findings.flatMap(one => [one.tree, ...Object.keys(one.held), ...Object.keys(one.reported ?? {})]));
        return { data, named };
      };
      const show = ({ data, named }) => listing(data, named, query, () => { fill(body); into(body, read, show); });
      into(body, read, show);
    },
  };
  page.update(params);
  return page;
}

function listing(data, named, query, again) {
  const found = data.findings;
  if (!found.length)
    return Object.keys(query).length > 1
      ? h("p", { class: "soft" }, "No finding is left by these filters.")
      : state("Reports and the account agree", h("p", {}, "Findings come from reports: a source says what is really there, and what is held besides, or not held, appears here."),
        h("pre", {}, h("code", {}, "moorage report file lab running.yaml")));
  const amounts = by => (by && Object.keys(by).length
    ? Object.entries(by).map(([uuid, resources], at) => [at > 0 && "; ", held(resources), " of ", providerLink(uuid, named, 28)]) : h("span", { class: "faint" }, "nothing"));
  return [table(
    [{ title: "Finding" }, { title: "Consumer" }, { title: "Held" }, { title: "Reported" }, { title: "Source" }, { title: "Since" }, { title: "What comes" }],
    found.map(one => [
      h("strong", { class: one.state === "ignored" ? "faint" : one.kind === "leaked" ? "bad" : "warm" }, one.kind),
      [consumerLink(one.consumer),
        h("span", { class: "faint" }, ` ${[one.consumer_type, one.project_id && cut(one.project_id, 16)].filter(Boolean).join(", ")}`)],
      amounts(one.held), amounts(one.reported), one.source, ago(one.since),
      [coming(one), decisions(`moorage/v1/findings/${one.id}/resolution`, choices(one).map(([words, action]) => [words, { action }]), again)],
    ])),
  pageLinks(`${found.length < data.total ? `${count(found.length)} of ` : ""}${several(data.total, "finding")}`, "findings", { ...query, limit: "" }, data.next)];
}

/** What an operator may do about a finding. */
function choices({ kind, state: word }) {
  if (word === "ignored") return [["Reopen", "reopen"]];
  if (kind !== "leaked") return [[kind === "missing" ? "Claim" : "Heal", "heal"], ["Ignore", "ignore"]];
  return [["Release", "heal"], ...(word === "quarantined" ? [] : [["Quarantine", "quarantine"]]), ["Ignore", "ignore"]];
}

/** What the service will do of itself. */
function coming({ state: word, action, due_in_seconds: due, trouble }) {
  const words = WORDS[word] ?? (action ? `${action} with ${due ? `a report in ${several(Math.ceil(due / 60), "minute")} or later` : "the next report"}` : "nothing by itself");
  return [h("span", { class: "soft" }, words), trouble && h("div", { class: "bad" }, trouble)];
}
