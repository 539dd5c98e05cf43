/** Asks the service. Errors of both APIs become one form. */

/** The address of the service: the console is two folders below it, whatever prefix there is. */
export const SERVICE = new URL("../../", new URL(location.pathname, location.origin));

const PLACEMENT = "placement 1.39";
const KEPT = "moorage.token";
const TRY_AGAIN_MILLISECONDS = 700;
const MOST_TREES = 10;

export class ApiError extends Error {
  constructor({ status = 0, title, detail, code = "", facts = {}, requestId = "" }) {
    super(detail || title);
    Object.assign(this, { status, title, detail, code, facts, requestId });
  }
}

let strategy = "";
let writes = false;
let features = new Set();
let askForToken = async () => {};

/** Reads how the service authenticates and what it can do. `ask` gets a token from the user. */
export async function connect(ask) {
  askForToken = ask;
  const settings = await (await fetch("settings.json")).json();
  strategy = settings.auth_strategy;
  writes = settings.writes;
  const versions = await request("moorage");
  features = new Set(versions.data.versions.flatMap(version => version.features));
}

export const can = feature => features.has(feature);
export const mayWrite = () => writes;

/** A new idempotency key. A page that came over plain HTTP has no `crypto.randomUUID`. */
export const newKey = () => [...crypto.getRandomValues(new Uint8Array(16))].map(one => one.toString(16).padStart(2, "0")).join("");
export const trustsAll = () => strategy === "noauth2";
export const strategyName = () => strategy;

export const token = () => sessionStorage.getItem(KEPT) ?? (trustsAll() ? "admin" : "");

export function keepToken(value) {
  if (value) sessionStorage.setItem(KEPT, value);
  else sessionStorage.removeItem(KEPT);
}

/**
 * Sends one request; `query` is an object or a string. A path under `moorage` is the native API's. With a `key`
 * it takes effect once, however often it is sent.
 * @returns {Promise<{data: any, revision: number|null, requestId: string, milliseconds: number}>}
 */
export async function request(path, { query = "", body, signal, key } = {}) {
  const address = new URL(path, SERVICE);
  address.search = typeof query === "string" ? query : new URLSearchParams(query).toString();
  let asked = false;
  for (let attempt = 1; ; attempt++) {
    const begun = performance.now();
    let answer;
    try {
      answer = await fetch(address, options(path, body, signal, key));
    } catch (error) {
      if (signal?.aborted) throw error;
      if (attempt < 2 && (body === undefined || key)) { await pause(); continue; }
      throw new ApiError({
        title: "The service does not answer",
        detail: `Nothing came back from ${SERVICE.host}. It may be stopped, or the network is away.`,
      });
    }
    // noauth2 takes any token: where it refuses, another one would not help.
    if (answer.status === 401 && !asked && !trustsAll()) {
      asked = true;
      if (await askForToken()) continue;
    }
    if (answer.status === 503 && attempt < 2) { await pause(); continue; }
    if (!answer.ok) throw await refused(answer);
    const data = answer.status === 204 ? null : await answer.json();
    return {
      data,
      revision: data?.revision ?? null,
      requestId: answer.headers.get("x-openstack-request-id") ?? "",
      milliseconds: performance.now() - begun,
    };
  }
}

function options(path, body, signal, key) {
  const headers = { Accept: "application/json" };
  if (token()) headers["X-Auth-Token"] = token();
  if (trustsAll() && token().split(":")[0] !== "admin") headers["X-Roles"] = "member,reader";
  if (!path.startsWith("moorage")) headers["OpenStack-API-Version"] = PLACEMENT;
  if (body !== undefined) headers["Content-Type"] = "application/json";
  if (key) headers["Idempotency-Key"] = key;
  return {
    method: body === undefined ? "GET" : "POST", headers, signal, cache: "no-store", credentials: "omit",
    body: body === undefined ? undefined : JSON.stringify(body),
  };
}

const pause = () => new Promise(done => setTimeout(done, TRY_AGAIN_MILLISECONDS));

async function refused(answer) {
  const text = await answer.text();
  let told = {};
  try { told = JSON.parse(text); } catch { /* A proxy may answer with a page of its own. */ }
  const first = told.errors?.[0] ?? told;
  return new ApiError({
    status: answer.status,
    title: first.title || answer.statusText || `Status ${answer.status}`,
    detail: first.detail || told.message || "",
    code: first.code ?? "",
    facts: first,
    requestId: first.request_id || answer.headers.get("x-openstack-request-id") || "",
  });
}

/** Names of providers by their UUIDs, as far as they may be seen. */
export async function namesOf(uuids, signal) {
  const found = new Map();
  const all = [...new Set(uuids)];
  for (let first = 0; first < all.length; first += 100) {
    const part = all.slice(first, first + 100);
    try {
      const { data } = await request("moorage/v1/providers", { query: { ids: part.join(","), limit: 100 }, signal });
      for (const one of data.providers) found.set(one.uuid, one);
    } catch (error) {
      if (error.status !== 403) throw error;
      for (const uuid of part.slice(0, MOST_TREES)) if (!found.has(uuid)) await learnTree(uuid, found, signal);
    }
  }
  return found;
}

/** The names of a tree, which a member of a project that holds something of it may see. */
async function learnTree(uuid, found, signal) {
  try {
    const { data } = await request(`moorage/v1/trees/${uuid}`, { signal });
    for (const one of data.providers) found.set(one.uuid, one);
  } catch (error) {
    if (!error.status) throw error;
  }
}
