/** Leases: which claims end unless their holder renews, and those in quarantine, which an operator decides about. */

import { can, request } from "../api.js";
import { ago, count, cut, fill, h, several } from "../dom.js";
import { bar, chosenOf, consumerLink, definitions, field, heading, into, pageLinks, panel, state, table } from "../parts/elements.js";
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
  const filter = (label, name) => field(label, { value: params.get(name) ?? "", onchange: event => set(name)(event.target.value) });
  const body = panel();
  fill(main, heading("Leases", "What ends unless its holder renews it, by service time."),
    h("div", { class: "toolbar" }, chosenOf("State", query.state, STATES, set("state")), filter("Owner", "owner"), filter("Project", "project")), body);
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
  pageLinks(several(data.leases.length, "lease"), "leases", Object.fromEntries(params), data.next)];
}

/** One lease with its claims. */
function one(main, id) {
  const body = h("div", {});
  fill(main, heading("Lease", h("code", {}, id), h("a", { class: "push", href: "leases" }, "All leases")), body);
  const read = () => into(body, async () => {
    const [lease, claims] = await Promise.all([
      request(`moorage/v1/leases/${encodeURIComponent(id)}`),
      request("moorage/v1/claims", { query: { lease: id, limit: LIMIT } }).catch(() => null)]);
    return { lease: lease.data, claims: claims?.data };
  }, ({ lease, claims }) => [
    panel(definitions([
      ["Owner", lease.owner],
      ["State", [stateOf(lease), ", ", ending(lease), settle(lease, read)]],
      ["Lasts", `${lease.ttl} after each renewal, and ${lease.grace} of grace`],
      ["Then", lease.on_expiry === "release" ? "its claims are released" : "its claims are kept in quarantine"],
      ["Project", h("a", { href: href("leases", { project: lease.project_id }) }, lease.project_id)],
      ["User", lease.user_id],
      ["Fence", h("a", { href: href("changes", { change: lease.fence }) }, count(lease.fence))],
      ["Last change", h("a", { href: href("changes", { change: lease.changed_at }) }, `rev. ${count(lease.changed_at)}`)]])),
    panel(h("h2", {}, "Its claims"), claims?.claims.length ? table(
      [{ title: "Consumer" }, { title: "Holds" }, { title: "Project" }, { title: "Since" }],
      claims.claims.map(claim => [consumerLink(claim.consumer),
        held(claim.resources), claim.project_id, ago(claim.since)])) : h("p", { class: "soft" }, "No claim hangs on it.")),
  ]);
  read();
  return read;
}
