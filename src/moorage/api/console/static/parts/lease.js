/** Leases: what is left of each, counted down, and what comes then. */

import { can, request } from "../api.js";
import { fill, h } from "../dom.js";
import { href } from "../router.js";
import { decisions } from "./elements.js";

const SECONDS = { ms: 0.001, s: 1, m: 60, h: 3600, d: 86400 };
const PARTS = [[86400, "d"], [3600, "h"], [60, "min"]];
const COLOURS = { expired: "warm", quarantined: "bad", released: "faint" };

export const STATES = ["active", "expired", "quarantined", "released"];

/** The seconds of a duration as the API writes it. */
export function seconds(text) {
  const [, number, unit] = /^([\d.]+)([a-z]+)$/.exec(text);
  return number * SECONDS[unit];
}

/** `2 h 5 min`, `59 s`. */
export function span(all) {
  let rest = Math.max(0, Math.ceil(all));
  if (rest < 60) return `${rest} s`;
  const words = [];
  for (const [length, unit] of PARTS) {
    const number = Math.floor(rest / length);
    rest %= length;
    if (number || words.length) words.push(`${number} ${unit}`);
    if (words.length === 2) break;
  }
  return words.join(" ");
}

/** What is left of a lease, counted down while it is shown. The service decides when it ends. */
export function left(lease) {
  const element = h("span", { class: "left" });
  element.until = performance.now() + seconds(lease.remaining) * 1000;
  element.textContent = span(seconds(lease.remaining));
  return element;
}

setInterval(() => {
  for (const one of document.querySelectorAll(".left")) one.textContent = span((one.until - performance.now()) / 1000);
}, 1000);

export const stateOf = lease => h("strong", { class: COLOURS[lease.state] ?? null }, lease.state);

/** When and how the claims of a lease end. */
export function ending(lease) {
  const then = lease.on_expiry === "release" ? "its claims are released" : "its claims are quarantined";
  if (lease.state === "active")
    return [left(lease), h("span", { class: "soft" }, ` of ${lease.ttl}, unless it is renewed`, lease.ends_in && `; at most ${span(seconds(lease.ends_in))}`)];
  if (lease.state === "expired") return [left(lease), h("span", { class: "warm" }, ` of grace, then ${then}`)];
  return h("span", { class: "soft" }, lease.state === "quarantined" ? "kept until an operator decides" : "has ended");
}

/** What an operator may decide about a lease in quarantine. */
export const settle = (lease, done) => (lease.state === "quarantined" ? decisions(`moorage/v1/leases/${lease.lease}/resolution`,
  [["Release its claims", { action: "release" }], ["Restore", { action: "restore" }]], done) : null);

const known = new Map();

/** Forgets the leases of the page before. */
export const forgetLeases = () => known.clear();

/** When a claim ends, once its lease is read; a dash for a claim that stays. */
export function endOf(uuid) {
  if (!uuid || !can("leases")) return h("span", { class: "faint" }, "–");
  const element = h("span", {}, "…");
  if (!known.has(uuid)) known.set(uuid, request(`moorage/v1/leases/${uuid}`));
  known.get(uuid).then(({ data }) => fill(element, link(data), " ", stateOf(data), ", ", ending(data)),
    () => fill(element, h("span", { class: "faint" }, "not known")));
  return element;
}

export const link = lease => h("a", { href: href("leases", { id: lease.lease }), title: lease.lease }, lease.owner);
