// The quieter parts of the page: stake, the leaders to come, latency, blocks, and the node's own view.

import { byId, h, keyed, redraw, s, setAttribute, setText } from "./dom.js";
import { bytes, count, duration, milliseconds, percentile, plural, shorten } from "./format.js";
import { computeMargin, findPresence, isSilent } from "./health.js";
import { getJson } from "./source.js";

const TRANSACTIONS_SHOWN_MAX = 20;
const VALIDATORS_SHOWN_MAX = 12;
const NAMED_PARTS_MAX = 10;
const PEERS_SHOWN_MAX = 12;
const LEADERS_SHOWN_MAX = 10;
const SPARK_VIEWS = 120;

export function drawStake(model) {
  const margin = computeMargin(model);
  if (margin === null) return;
  const validators = model.validators.validators.toSorted((one, other) => other.weight - one.weight || one.id - other.id);
  const shown = validators.map((validator) => ({ ...validator, presence: validator.weight ? findPresence(model, validator.name) : "none" }));
  setText(byId("stake-note"), `${count(margin.answering)} of ${count(margin.total)} answers`);
  const signature = [margin.total, shown.map((v) => [v.name, v.weight, v.stake, v.status, v.reason, v.presence, model.colourOf(v.name)])];
  redraw(byId("stake"), signature, () => [drawStakeBar(shown, margin, model), drawScrolled(drawStakeTable(shown, margin, model), shown.length)]);
}

/** All stake side by side, what is silent at the end: the network halts when the rest does not reach the quorum's line. */
function drawStakeBar(validators, margin, model) {
  const order = validators.filter((validator) => validator.weight).sort((one, other) => isSilent(one.presence) - isSilent(other.presence));
  const parts = order.map((validator) => h("span", {
    class: isSilent(validator.presence) ? "part silent" : "part", "data-colour": model.colourOf(validator.name),
    style: { flexGrow: validator.weight }, title: `${validator.name}: ${count(validator.weight)}`,
  }, h("span", {}, isSilent(validator.presence) ? `✕ ${validator.name}` : validator.name)));
  const threshold = (weight, name, text) => h("span", { class: `threshold ${name}`, style: { left: `${(100 * weight) / margin.total}%` } }, h("span", {}, text));
  const label = `${count(margin.answering)} of ${count(margin.total)} stake answers. A quorum needs ${count(margin.threshold)}; ` +
    `in any ${count(margin.honest)} at least one validator is honest.`;
  return h("div", { class: order.length > NAMED_PARTS_MAX ? "stake-bar many" : "stake-bar", role: "img", "aria-label": label }, h("div", { class: "parts" }, parts),
    threshold(margin.honest, "honest", `one honest: ${count(margin.honest)}`), threshold(margin.threshold, "quorum", `quorum: ${count(margin.threshold)}`));
}

/** A long table has a window of its own, which the keyboard can scroll. */
function drawScrolled(table, rows) {
  if (rows <= VALIDATORS_SHOWN_MAX) return table;
  return h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "Validators, a table to scroll" }, table);
}

function drawStakeTable(validators, margin, model) {
  return h("table", { class: "validators" }, h("thead", {}, h("tr", {}, ["Validator", "Weight", "Share", "Standing"].map((title, place) =>
    h("th", { scope: "col", class: place === 1 || place === 2 ? "number" : "" }, title)))),
  h("tbody", {}, validators.map((validator) => h("tr", { "data-presence": validator.presence },
    h("th", { scope: "row" }, h("i", { class: "swatch", "data-colour": model.colourOf(validator.name), "aria-hidden": "true" }), validator.name),
    h("td", { class: "number" }, count(validator.weight)),
    h("td", { class: "number" }, `${((100 * validator.weight) / margin.total).toFixed(1)} %`),
    h("td", {}, h("span", { class: "chips" }, describeStanding(validator)), validator.reason ? h("span", { class: "soft reason" }, validator.reason) : null)))));
}

function describeStanding(validator) {
  const chips = [];
  if (validator.presence === "gone") chips.push(h("span", { class: "chip bad" }, "✕ no connection"));
  if (validator.presence === "quiet") chips.push(h("span", { class: "chip bad" }, "✕ does not vote"));
  const mark = { active: "✓", benched: "▽", jailed: "▣", tombstoned: "⊘", pending: "…", exiting: "→" }[validator.status] ?? "";
  const tone = { active: "good", benched: "warn", jailed: "bad", tombstoned: "bad" }[validator.status] ?? "";
  if (validator.status !== "active" || !chips.length) chips.push(h("span", { class: `chip ${tone}` }, `${mark} ${validator.status}`));
  return chips;
}

export function drawLeaders(model) {
  const { schedule, committees } = model;
  if (committees) {
    redraw(byId("committees"), [committees, model.members.length], () => h("dl", { class: "committees" },
      ["primary", "fallback"].flatMap((name) => [
        h("dt", { class: committees.leading === name ? "leading" : "" }, name === "primary" ? "Primary" : "Fallback"),
        h("dd", {}, committees[name].length ? committees[name].map((member) => describeMember(member, committees, name, model)) : "nobody"),
      ])));
    setText(byId("leaders-note"), `drawn by stake for epoch ${committees.epoch}; the ${committees.leading} committee leads`);
  }
  if (!schedule) return;
  redraw(byId("leaders"), [schedule, model.members.length], () => schedule.views.slice(0, LEADERS_SHOWN_MAX).map((view, place) =>
    h("li", { class: place === 0 ? "next" : "" },
      h("span", { class: "number soft" }, count(view.view)),
      h("i", { class: "swatch", "data-colour": model.colourOf(view.leader), "aria-hidden": "true" }),
      h("strong", {}, view.leader), h("span", { class: "soft" }, view.why))));
}

function describeMember(member, committees, name, model) {
  const turns = committees.leading === name ? `${member.turns} of ${plural(committees.turns, "turn")}` : "in reserve";
  const standing = member.status === "active" ? "" : `, ${member.status}`;
  return h("span", { class: "member", title: member.reason },
    h("i", { class: "swatch", "data-colour": model.colourOf(member.name), "aria-hidden": "true" }),
    member.name, h("span", { class: "soft" }, ` ${turns}${standing}`));
}

const since = (after, view) => (after === null || !view.proposal ? null : Math.max(0, after - view.proposal.after_ms));
const PHASES = [
  ["Until a proposal", (view) => view.proposal?.after_ms ?? null],
  ["Proposal to QC", (view) => since(view.qc_after_ms, view)],
  ["Proposal to finality", (view) => since(view.fc_after_ms, view)],
];

/** From the proposal's arrival to its finality certificate, in ms: the median of the views that are known. */
export function computeFinality(model) {
  const values = model.views.map(PHASES[2][1]).filter((value) => value !== null).sort((one, other) => one - other);
  return percentile(values, 0.5);
}

export function drawLatency(model) {
  const views = model.views.filter((view) => view.ended_ms !== null);
  setText(byId("latency-note"), views.length ? `in the last ${plural(views.length, "view")}` : "");
  const recent = views.slice(-SPARK_VIEWS);
  const most = Math.max(1, ...recent.flatMap((view) => PHASES.map(([, read]) => read(view) ?? 0)));
  redraw(byId("latency"), [views.at(-1)?.view, views.length], () => h("table", { class: "latency" },
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Phase"), ["median", "p90", "p99"].map((title) => h("th", { scope: "col", class: "number" }, title)), h("td"))),
    h("tbody", {}, PHASES.map(([title, read]) => {
      const values = views.map(read).filter((value) => value !== null).sort((one, other) => one - other);
      return h("tr", {}, h("th", { scope: "row" }, title),
        [0.5, 0.9, 0.99].map((share) => h("td", { class: "number" }, milliseconds(percentile(values, share)))),
        h("td", { class: "spark-cell" }, drawSpark(recent.map(read), most)));
    }))));
}

/** A bar per view, all phases to one scale (the root of the time, so that small ones can be seen). */
function drawSpark(values, most) {
  const width = Math.max(values.length, SPARK_VIEWS / 3);
  const bars = values.map((value, place) => {
    if (value === null) return "";
    const height = Math.max(0.6, 22 * Math.sqrt(value / most));
    return `M${place + 0.5} 24v${-height}`;
  });
  return s("svg", { class: "spark", viewBox: `0 0 ${width} 24`, preserveAspectRatio: "none", "aria-hidden": "true" }, s("path", { d: bars.join("") }));
}

export function drawBlocks(model, now) {
  setText(byId("blocks-note"), model.status ? `height ${count(model.status.height)}` : "");
  const counts = new Map(model.views.filter((view) => view.proposal).map((view) => [view.proposal.hash, view.proposal.transactions]));
  keyed(byId("blocks"), model.blocks, (block) => block.hash, makeBlock, (element, block) => {
    const number = block.transaction_count ?? counts.get(block.hash);
    const isEmpty = number === 0 || block.payload_bytes === 0;
    const size = bytes(block.payload_bytes);
    setText(element.content, isEmpty ? "empty" : number === undefined ? size : `${plural(number, "transaction")}, ${size}`);
    setAttribute(element, "class", isEmpty ? "hollow" : "full");
    setText(element.age, `${duration(Math.max(0, model.nodeNow(now) - block.timestamp_ms) / 1000)} ago`);
    setAttribute(element.swatch, "data-colour", model.colourOf(block.proposer));
  });
}

function makeBlock(block) {
  const element = h("li");
  element.swatch = h("i", { class: "swatch", "aria-hidden": "true" });
  element.content = h("span");
  element.age = h("span", { class: "soft age" });
  const details = h("details", { ontoggle: () => details.open && showTransactions(details, block) },
    h("summary", {}, h("strong", { class: "number" }, count(block.height)), element.swatch, h("span", {}, block.proposer), element.content, element.age),
    h("p", { class: "soft" }, "Block ", h("a", { href: `v1/blocks/${block.height}`, title: block.hash }, shorten(block.hash)), ` of view ${count(block.view)}, epoch ${block.epoch}`),
  );
  element.append(details);
  return element;
}

async function showTransactions(details, block) {
  if (details.isFilled) return;
  details.isFilled = true;
  try {
    const { transactions } = await getJson(`v1/blocks/${block.height}?transactions=hashes`);
    const rest = transactions.length - TRANSACTIONS_SHOWN_MAX;
    details.append(transactions.length
      ? h("ol", { class: "hashes" }, transactions.slice(0, TRANSACTIONS_SHOWN_MAX).map((hash) => h("li", {}, h("a", { href: `v1/transactions/${hash}` }, hash))))
      : h("p", { class: "soft" }, "No transaction: a leader proposes an empty block when nothing waits."));
    if (rest > 0) details.append(h("p", { class: "soft" }, `and ${count(rest)} more`));
  } catch {
    details.isFilled = false;
  }
}

export function drawNode(model) {
  const { status } = model;
  if (!status) return;
  const others = (model.validators?.validators ?? []).map((validator) => validator.name).filter((name) => name !== status.validator);
  const uptime = duration(status.uptime_s);
  const signature = [status.validator, status.version, status.peers, others, uptime, status.mempool, status.ready, status.epoch, status.height];
  setText(byId("node-note"), `${status.validator} serves this page`);
  redraw(byId("node"), signature, () => h("dl", { class: "facts" },
    fact("Peers", h("span", { class: "chips" }, describePeers(others, status.peers))),
    fact("Ready", status.ready ? "yes: has decided, and is not behind" : "no"),
    fact("Mempool", `${plural(status.mempool.transactions, "transaction")}, ${bytes(status.mempool.bytes)}`),
    fact("Epoch", `${status.epoch}: heights ${count(status.epoch_first_height)} to ${count(status.epoch_last_height)}, ${plural(status.epoch_last_height - status.height, "block")} left`),
    fact("Up for", uptime), fact("Version", status.version), fact("Network", h("span", { title: status.network_id }, `${status.network} · ${shorten(status.network_id)}`))));
}

/** Of many peers only those that are missing have a name. */
function describePeers(others, peers) {
  const gone = others.filter((name) => !peers.includes(name)).map((name) => h("span", { class: "chip bad" }, `✕ ${name}`));
  const here = others.filter((name) => peers.includes(name));
  if (others.length > PEERS_SHOWN_MAX) return [h("span", { class: "chip good" }, `✓ ${here.length} of ${others.length}`), ...gone];
  return [...here.map((name) => h("span", { class: "chip good" }, `✓ ${name}`)), ...gone];
}

const fact = (name, value) => h("div", {}, h("dt", {}, name), h("dd", {}, value));
