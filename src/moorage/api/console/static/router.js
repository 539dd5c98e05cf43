/** Which page is shown: all of it stands in the path and the query. */

const BASE = new URL(".", new URL(location.pathname, location.origin));

export const PAGES = ["map", "tree", "search", "classes", "consumer", "changes", "why", "leases", "findings"];

let show = () => {};

/** The page and its parameters, as the address says. */
export function place() {
  const page = location.pathname.slice(BASE.pathname.length);
  return { page: PAGES.includes(page) ? page : "map", params: new URLSearchParams(location.search) };
}

/** The address of a page; parameters that are empty are left out. */
export function href(page, params = {}) {
  const query = new URLSearchParams();
  for (const [name, value] of params instanceof URLSearchParams ? params : Object.entries(params))
    if (value !== "" && value !== null && value !== undefined) query.set(name, value);
  const text = query.toString().replaceAll("%3A", ":").replaceAll("%2C", ",");
  return page + (text ? `?${text}` : "");
}

/** Goes to an address. `quiet` only notes it: the page has already changed itself. */
export function go(address, { replace = false, quiet = false } = {}) {
  const target = new URL(address, BASE);
  if (target.href !== location.href) history[replace ? "replaceState" : "pushState"](null, "", target);
  if (!quiet) show();
}

/** Changes some parameters of the shown page. */
export function change(changes, how) {
  const { page, params } = place();
  go(href(page, { ...Object.fromEntries(params), ...changes }), how);
}

export function start(shown) {
  show = shown;
  addEventListener("popstate", show);
  document.addEventListener("click", event => {
    const link = event.target.closest?.("a[href]");
    const plain = !event.defaultPrevented && event.button === 0;
    if (!link || !plain || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
    const target = new URL(link.href);
    const below = target.origin === location.origin && target.pathname.startsWith(BASE.pathname);
    if (!below || link.getAttribute("href").startsWith("#") || link.target) return;
    event.preventDefault();
    go(target);
  });
  show();
}
