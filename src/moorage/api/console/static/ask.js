/** A request for allocation candidates as an object, to and from a Placement query, and its relaxations. */

const PLAIN = /^[A-Za-z0-9_:,!.\-]*$/;

/**
 * @typedef {{how: "all"|"any"|"not", names: string[]}} Condition
 * @typedef {{suffix: string, resources: {name: string, amount: number}[], required: Condition[],
 *   memberOf: Condition[], inTree: string}} Group
 * @typedef {{groups: Group[], policy: string, subtrees: string[][], rootRequired: Condition[]}} Ask
 */

export const newGroup = (suffix = "") => ({ suffix, resources: [], required: [], memberOf: [], inTree: "" });

/** @returns {Ask} */
export const newAsk = () => ({ groups: [newGroup()], policy: "", subtrees: [], rootRequired: [] });

/** The query within a text: of a URL, of a line of a log, or the text itself. */
export function queryIn(text) {
  const whole = text.trim();
  const found = /allocation_candidates\?([^\s"']+)/.exec(whole) ?? /(?:^|[\s"'?])((?:resources|required)\w*=[^\s"']+)/.exec(whole);
  return found ? found[1] : whole.replace(/^\?/, "");
}

const split = text => text.split(",").filter(Boolean);

function traits(text) {
  if (text.startsWith("in:")) return [{ how: "any", names: split(text.slice(3)) }];
  return split(text).map(one => one.startsWith("!") ? { how: "not", names: [one.slice(1)] } : { how: "all", names: [one] });
}

function aggregates(text) {
  const not = text.startsWith("!"), rest = not ? text.slice(1) : text;
  const names = rest.startsWith("in:") ? split(rest.slice(3)) : [rest];
  return [{ how: not ? "not" : "any", names }];
}

/** @returns {Ask} */
export function parse(text) {
  const ask = { groups: [], policy: "", subtrees: [], rootRequired: [] };
  const group = suffix => {
    let found = ask.groups.find(one => one.suffix === suffix);
    if (!found) ask.groups.push((found = newGroup(suffix)));
    return found;
  };
  for (const [key, value] of new URLSearchParams(queryIn(text))) {
    const [, word, suffix] = /^(resources|required|member_of|in_tree)(.*)$/.exec(key) ?? [];
    if (key === "group_policy") ask.policy = value;
    else if (key === "same_subtree") ask.subtrees.push(split(value));
    else if (key === "root_required") ask.rootRequired.push(...traits(value));
    else if (word === "resources")
      group(suffix).resources.push(...split(value).map(one => {
        const [name, number] = one.split(":");
        return { name, amount: Number(number) || 1 };
      }));
    else if (word === "required") group(suffix).required.push(...traits(value));
    else if (word === "member_of") group(suffix).memberOf.push(...aggregates(value));
    else if (word === "in_tree") group(suffix).inTree = value;
  }
  if (!ask.groups.length) ask.groups.push(newGroup());
  return ask;
}

/** The query string of an ask. */
export function toQuery(ask) {
  const pairs = [];
  const traitPairs = (key, conditions) => {
    const plain = conditions.filter(one => one.how !== "any" && one.names[0]);
    if (plain.length) pairs.push([key, plain.map(one => (one.how === "not" ? "!" : "") + one.names[0]).join(",")]);
    for (const one of conditions) if (one.how === "any" && one.names.length) pairs.push([key, `in:${one.names.join(",")}`]);
  };
  for (const { suffix, resources, required, memberOf, inTree } of ask.groups) {
    const amounts = resources.filter(one => one.name && one.amount > 0);
    if (amounts.length) pairs.push([`resources${suffix}`, amounts.map(one => `${one.name}:${one.amount}`).join(",")]);
    traitPairs(`required${suffix}`, required);
    for (const { how, names } of memberOf)
      pairs.push([`member_of${suffix}`, (how === "not" ? "!" : "") + (names.length > 1 ? `in:${names.join(",")}` : names[0])]);
    if (inTree) pairs.push([`in_tree${suffix}`, inTree]);
  }
  if (ask.policy && ask.groups.some(one => one.suffix)) pairs.push(["group_policy", ask.policy]);
  for (const suffixes of ask.subtrees) if (suffixes.length > 1) pairs.push(["same_subtree", suffixes.join(",")]);
  traitPairs("root_required", ask.rootRequired);
  return pairs.map(([key, value]) => `${key}=${PLAIN.test(value) ? value : encodeURIComponent(value)}`).join("&");
}

/** The query of an Ask of the native API. */
export function queryOfAsk(told) {
  if (told.query) return queryIn(told.query);
  const conditions = (wanted = [], forbidden = []) => [
    ...wanted.map(one => (typeof one === "string" ? { how: "all", names: [one] } : { how: "any", names: one.any })),
    ...forbidden.map(one => ({ how: "not", names: typeof one === "string" ? [one] : one.any })),
  ];
  const groups = Object.entries(told.groups ?? {}).map(([suffix, group]) => ({
    suffix,
    resources: Object.entries(group.resources ?? {}).map(([name, amount]) => ({ name, amount })),
    required: conditions(group.required, group.forbidden),
    memberOf: conditions(group.member_of, group.not_member_of),
    inTree: group.in_tree ?? "",
  }));
  return toQuery({ groups, policy: told.group_policy ?? "", subtrees: told.same_subtree ?? [],
    rootRequired: conditions(told.root_required, told.root_forbidden) });
}

/** Whether there is something to look for. */
export const asksForSomething = ask => ask.groups.some(one => one.resources.some(({ name, amount }) => name && amount > 0));

const sameNames = (one, other) => one.length === other.length && [...one].sort().join() === [...other].sort().join();

const without = (conditions, names, ...ways) => {
  const at = conditions.findIndex(one => ways.includes(one.how) && sameNames(one.names, names));
  if (at >= 0) conditions.splice(at, 1);
};

/** The query with the changes of a relaxation; `constraints` are those of its explanation. */
export function relaxed(query, changes, constraints) {
  const ask = parse(query);
  for (const { op, constraint: id, to } of changes) {
    const term = constraints.find(one => one.id === id);
    const group = ask.groups.find(one => one.suffix === (term.group ?? "")) ?? ask.groups[0];
    if (op === "amount") {
      const found = group.resources.find(one => one.name === term.resource_class);
      if (found) found.amount = to;
    } else drop(ask, group, term);
  }
  ask.groups = ask.groups.filter(one =>
    one.resources.length || one.required.length || one.memberOf.length || one.inTree || one.suffix);
  return toQuery(ask);
}

function drop(ask, group, term) {
  switch (term.kind) {
    case "room": group.resources = group.resources.filter(one => one.name !== term.resource_class); break;
    case "required": without(group.required, term.traits, "all", "any"); break;
    case "forbidden": without(group.required, term.traits, "not"); break;
    case "member_of": without(group.memberOf, term.aggregates, "any"); break;
    case "not_member_of": without(group.memberOf, term.aggregates, "not"); break;
    case "in_tree": group.inTree = ""; break;
    case "root_required": without(ask.rootRequired, term.traits, "all", "any"); break;
    case "root_forbidden": without(ask.rootRequired, term.traits, "not"); break;
    case "together":
      if (term.rule === "isolate") ask.policy = "none";
      else ask.subtrees = ask.subtrees.filter(one => !sameNames(one, term.groups ?? []));
      break;
  }
}
