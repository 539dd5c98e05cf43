/** Claims what a search asks for: the service finds the place and claims it, in one step. */

import { namesOf, newKey, request } from "../api.js";
import { count, fill, h, say, several } from "../dom.js";
import { bar, consumerLink, problem, providerLink, waiting } from "./elements.js";

const ORDERS = [
  ["pack", "fullest tree first"], ["spread", "emptiest tree first"], ["best_fit", "smallest room first"],
  ["first", "first tree found"], ["random", "any tree"],
];
const DIGITS = 4;

/** A panel with a button. `claimed` is called once something was claimed. */
export function claimPanel(query, claimed) {
  const order = h("select", { "aria-label": "Which place is better" }, ORDERS.map(([value, words]) => h("option", { value }, words)));
  const button = h("button", { type: "button", class: "claim" }, "Claim the best place");
  const answer = h("div", { "aria-live": "polite" });
  let key = newKey();
  button.onclick = async () => {
    button.disabled = true;
    fill(answer, waiting("Claiming…"));
    const body = { claims: [{ ask: { query }, order: { strategy: order.value } }], explain: "always" };
    try {
      const { data } = await request("moorage/v1/claims", { body, key }).catch(error => {
        if (error.status !== 403 || error.detail.includes("claims:create")) throw error;
        // Who may not order still gets the first place.
        return request("moorage/v1/claims", { body: { claims: [{ ask: { query } }] }, key: newKey() });
      });
      key = newKey();
      fill(answer, await granted(data));
      say("Claimed.");
      claimed();
    } catch (error) {
      if (error.status) key = newKey();
      fill(answer, problem(error, () => button.click()));
    }
    button.disabled = false;
  };
  order.onchange = () => { key = newKey(); };
  return h("section", { class: "panel", "aria-label": "Claim" },
    h("div", { class: "row" }, button, order), answer);
}

/** Where the claim is, why there, and what came next. */
async function granted({ revision, claims: [claim] }) {
  const others = (claim.explanation?.alternatives ?? []).filter(one => one.score !== undefined);
  const uuids = [claim, ...others].flatMap(one => Object.keys(one.allocations));
  const named = await namesOf(uuids).catch(() => new Map());
  const places = allocations => Object.keys(allocations).map((uuid, at) => [at > 0 && ", ",
providerLink(uuid, named)]);
  return h("div", { class: "granted" },
    h("p", {}, "Claimed on ", places(claim.allocations), " as ",
      consumerLink(claim.consumer),
      h("span", { class: "faint" }, ` at revision ${count(revision)}${claim.ranked_of ? `, best of ${several(claim.ranked_of, "tree")}` : ", the first place that fits"}`)),
    claim.parts && h("div", { class: "scores" },
      row(places(claim.allocations), claim, "chosen"),
      others.map(one => row(places(one.allocations), one, ""))));
}

/** A score with its parts. */
const row = (where, { score, parts }, mark) => [
  h("span", { class: mark || "faint" }, where),
  bar(Math.max(0, score), 1, { label: `score ${score.toFixed(DIGITS)}`, over: false }),
  h("span", { class: "number" }, score.toFixed(DIGITS)),
  h("span", { class: "faint" }, Object.entries(parts).map(([name, part]) => `${name} ${part.toFixed(DIGITS)}`).join(" · ")),
];
