/** Why: the reason of a refused request, by its request id. */

import { can, request } from "../api.js";
import { queryOfAsk, relaxed } from "../ask.js";
import { ago, count, cut, fill, h } from "../dom.js";
import { heading, into, panel, state, table } from "../parts/elements.js";
import { explanationView } from "../parts/explanation.js";
import { change, go, href } from "../router.js";

export const title = "Why";

export function render(main, params) {
  const page = {
    update(next) {
      const id = next.get("request") ?? "";
      const box = h("input", { id: "request", type: "search", value: id, placeholder: "req-…", spellcheck: "false", "aria-label": "Request id",
        style: { flex: "1 1 320px", "max-width": "520px" },
        onkeydown: event => { if (event.key === "Enter") ask(); } });
      const ask = () => change({ request: box.value.trim() });
      const body = h("div", {});
      fill(main, heading("Why", "The reason of a request that found nothing, by its request id."),
        h("div", { class: "toolbar" }, box, h("button", { type: "button", onclick: ask }, "Explain")), body);
      if (!can("unmet")) fill(body, without(id));
      else if (id) into(body, () => request(`moorage/v1/explanations/${encodeURIComponent(id)}`), ({ data }) => explained(data));
      else into(body, () => request("moorage/v1/unmet", { query: { since: "24h" } }), ({ data }) => list(data));
    },
  };
  page.update(params);
  return page;
}

/** The page of a service that keeps no explanations. */
const without = id => state(
  id ? "This service does not keep the reasons of past requests" : "Ask for a reason by the query instead",
  h("p", {}, "It lists no feature “unmet”, so it cannot find a request by its id."),
  h("p", {}, "The query of the request leads to the same reason, as of now. Nova logs it with the request id, in the line that begins with GET /allocation_candidates. ",
    h("a", { href: "search" }, "Paste it into Search"), "."));

function explained(data) {
  const query = data.ask ? queryOfAsk(data.ask) : "";
  return [h("p", { class: "soft" }, data.request_id && [h("code", {}, data.request_id), ", "], data.at && [ago(data.at), ", "], `at revision ${data.revision}. `,
    query && h("a", { href: href("search", { q: query }) }, "Search with the same query now")),
  query && h("p", {}, h("code", {}, query)),
  data.others?.length > 0 && h("p", {}, "The same id had other searches: ",
    data.others.map((one, at) => [at > 0 && ", ", h("a", { href: href("why", { request: one }), class: "mono" }, one)])),
  explanationView(data, query && (({ changes }) => go(href("search", { q: relaxed(query, changes, data.constraints) }))))];
}

function list(data) {
  const asks = data.unmet ?? [];
  if (!asks.length) return state("Every request of the last day found something", h("p", {}, "Requests that find nothing appear here, equal ones together."));
  return panel(h("h2", {}, "Unmet asks of the last day"), table(
    [{ title: "Ask" }, { title: "Verdict" }, { title: "Times", number: true }, { title: "Last" }],
    asks.map(one => {
      const query = queryOfAsk(one.ask);
      return [h("a", { href: href("why", { request: one.request_id }), class: "mono", title: query }, cut(query, 90)),
        one.verdict.replaceAll("_", " "), count(one.count), ago(one.last_at)];
    })));
}
