/** Leases: which claims end unless their holder renews, and those in quarantine, which an operator decides about. */

import { can, request } from "../api.js";
import { ago, count, cut, fill, h, several, short } from "../dom.js";
import { chosenOf } from "../parts/decide.js";
import { bar, into, state, table } from "../parts/elements.js";
import { STATES, ending, forgetLeases, link, seconds, settle, stateOf } from "../parts/lease.js";
import { held } from "../parts/tree.js";
import { change, href } from "../router.js";

const LIMIT = 100;
const AGAIN = 15_000;

export const title = "Leases";

export function render(main, params) {
  let timer = 0;
  const page = {
    update(next) {
      clearInterval(timer);
      forgetLeases();
      if (!can("leases")) { fill(main, state("This service has no leases")); return; }
      const read = next.get("id") ? one(main, next.get("id")) : all(main, next);
      // A button that has the focus stays.
      timer = setInterval(() => { if (!document.hidden && !main.querySelector("button:focus, .problem")) read(); }, AGAIN);
    },
    destroy() { clearInterval(timer); },
  };
  page.update(params);
  return page;
}

/** All leases that the filters leave. */
function all(main, params) {
  const query = { limit: LIMIT };
  for (const [field, name] of [["state", "state"], ["owner", "owner"], ["project", "project_id"], ["after", "after"]])
    if (params.get(field)) query[name] = params.get(field);
  const set = name => value => change({ [name]: value.trim(), after: "" });
  const field = (label, name) => h("label", { class: "field" }, `${label} `, h("input", { type: "search", value: params.get(name) ?? "", spellcheck: "false",
    onchange: event => set(name)(event.target.value) }));
  const body = h("section", { class: "panel" });
  fill(main, h("div", { class: "title" }, h("h1", {}, "Leases"), h("span", { class: "soft" }, "What ends unless its holder renews it, by service time.")),
    h("div", { class: "toolbar" }, chosenOf("State", query.state, STATES, set("state")), field("Owner", "owner"), field("Project", "project")), body);
  const read = () => into(body, () => request("moorage/v1/leases", { query }), ({ data }) => listing(data, params, read));
  read();
  return read;
}

function listing(data, params, again) {
  if (!data.leases.length)
    return ["state", "owner", "project"].some(name => params.get(name)) ? h("p", { class: "soft" }, "No lease is left by these filters.")
      : state("There are no leases", h("p", {}, "A job that claims with a lease gives everything back when it dies. This command does so, and runs a program:"),
        h("pre", {}, h("code", {}, "moorage run --resources CUSTOM_GPU=1 -- python train.py")));
  const rest = lease => seconds(lease.remaining) / Math.max(1, seconds(lease.state === "expired" ? lease.grace : lease.ttl));
  return [table(
    [{ title: "Owner" }, { title: "State" }, { title: "Left" }, { title: "", wide: true }, { title: "Claims", number: true }, { title: "Project" }, { title: "Then" }],
    data.leases.map(lease => [link(lease), stateOf(lease), ending(lease),
      lease.state === "active" || lease.state === "expired" ? bar(rest(lease), 1, { label: `${lease.owner}: ${lease.remaining} left`, over: false }) : settle(lease, again) ?? "",
      h("a", { href: href("leases", { id: lease.lease }) }, count(lease.claims)),
      h("a", { href: href("leases", { project: lease.project_id }), title: lease.project_id }, cut(lease.project_id, 20)), lease.on_expiry])),
  h("div", { class: "row", style: { "margin-top": "8px" } }, h("span", { class: "soft" }, several(data.leases.length, "lease")),
    data.next && h("a", { href: href("leases", { ...Object.fromEntries(params), after: data.next }) }, "Next page"))];
}

/** One lease with its claims. */
function one(main, id) {
  const body = h("div", {});
  fill(main, h("div", { class: "title" }, h("h1", {}, "Lease"), h("code", { class: "soft" }, id), h("a", { class: "push", href: "leases" }, "All leases")), body);
  const read = () => into(body, async () => {
    const [lease, claims] = await Promise.all([
      request(`moorage/v1/leases/${encodeURIComponent(id)}`),
      request("moorage/v1/claims", { query: { lease: id, limit: LIMIT } }).catch(() => null)]);
    return { lease: lease.data, claims: claims?.data };
  }, ({ lease, claims }) => [
    h("section", { class: "panel" }, h("dl", { class: "definitions" },
      h("dt", {}, "Owner"), h("dd", {}, lease.owner),
      h("dt", {}, "State"), h("dd", {}, stateOf(lease), ", ", ending(lease), settle(lease, read)),
      h("dt", {}, "Lasts"), h("dd", {}, `${lease.ttl} after each renewal, and ${lease.grace} of grace`),
      h("dt", {}, "Then"), h("dd", {}, lease.on_expiry === "release" ? "its claims are released" : "its claims are kept in quarantine"),
      h("dt", {}, "Project"), h("dd", {}, h("a", { href: href("leases", { project: lease.project_id }) }, lease.project_id)),
      h("dt", {}, "User"), h("dd", {}, lease.user_id),
      h("dt", {}, "Fence"), h("dd", {}, h("a", { href: href("changes", { change: lease.fence }) }, count(lease.fence))),
      h("dt", {}, "Last change"), h("dd", {}, h("a", { href: href("changes", { change: lease.changed_at }) }, `rev. ${count(lease.changed_at)}`)))),
    h("section", { class: "panel" }, h("h2", {}, "Its claims"), claims?.claims.length ? table(
      [{ title: "Consumer" }, { title: "Holds" }, { title: "Project" }, { title: "Since" }],
      claims.claims.map(claim => [h("a", { href: href("consumer", { id: claim.consumer }), class: "mono", title: claim.consumer }, short(claim.consumer)),
        held(claim.resources), claim.project_id, ago(claim.since)])) : h("p", { class: "soft" }, "No claim hangs on it.")),
  ]);
  read();
  return read;
}
