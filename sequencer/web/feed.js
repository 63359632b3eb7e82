// What the ledger did to validators, newest first; under each tombstone the messages that contradict each other.

import { byId, h, keyed, redraw, setText } from "./dom.js";
import { count, plural, shorten } from "./format.js";

const SHOWN_MAX = 24;
const PENALTIES = new Set(["slashed", "jailed", "tombstoned"]);
const MARKS = {
  slashed: "▼", tombstoned: "⊘", jailed: "▣", benched: "▽", bench_cleared: "△", released: "○", unjailed: "○",
  fallback_activated: "◆", fallback_ended: "◇", compensated: "＋",
};
const QUIET = new Set(["committees_drawn", "epoch_began", "validator_active"]);

export function drawFeed(model) {
  const events = model.events.filter((event) => !QUIET.has(event.kind)).slice(0, SHOWN_MAX);
  const { pending, included } = model.evidence;
  const slashed = model.events.filter((event) => event.kind === "slashed").length;
  setText(byId("feed-note"), events.length ? `${plural(slashed, "slashing")} since this node started` : "nothing has happened since this node started");
  const items = [
    ...pending.map((proof) => ({ key: `pending ${proof.id}`, proof })),
    ...events.map((event, place) => ({ key: describeKey(event, place, events), event, proof: findProof(event, included) })),
  ];
  keyed(byId("feed"), items, (item) => item.key, () => h("li"), drawItem);
}

/** Of several alike at one height the last one counts from the bottom, so that newer events change no key. */
function describeKey(event, place, events) {
  const text = JSON.stringify([event.height, event.kind, event.fields]);
  const below = events.slice(place + 1).filter((other) => JSON.stringify([other.height, other.kind, other.fields]) === text).length;
  return `${text} ${below}`;
}

function findProof(event, included) {
  if (event.kind !== "tombstoned") return null;
  return included.find((proof) => proof.height === event.height && proof.offender === event.fields.validator) ?? null;
}

function drawItem(element, { event, proof }) {
  if (!redraw(element, [event, proof], () => (event ? describeEvent(event) : describePending(proof)).concat(proof ? describeProof(proof) : []))) return;
  element.className = event ? (PENALTIES.has(event.kind) ? "penalty" : "") : "penalty pending";
}

function describeEvent(event) {
  const who = event.fields.validator ?? "";
  return [
    h("p", {}, h("span", { class: "mark", "aria-hidden": "true" }, MARKS[event.kind] ?? "•"),
      h("strong", {}, `${who} ${event.kind.replaceAll("_", " ")}`.trim()), h("span", { class: "soft" }, ` at height ${count(event.height)}`)),
    h("p", { class: "reason" }, event.reason),
  ];
}

const describePending = (proof) => [
  h("p", {}, h("span", { class: "mark", "aria-hidden": "true" }, "…"), h("strong", {}, `${proof.offender} is accused of ${proof.rule}`)),
  h("p", { class: "reason" }, "The proof waits for a leaf; whoever leads next may include it."),
];

function describeProof(proof) {
  if (!proof.messages?.length) return [];
  return [h("details", { class: "evidence", open: true },
    h("summary", {}, proof.messages.length > 1 ? "The messages that contradict each other" : "The message that proves it"),
    h("p", {}, proof.contradiction),
    h("div", { class: "messages" }, proof.messages.map((message) => h("dl", { class: "facts" },
      row("Message", message.kind.replaceAll("_", " ")), row("View", count(message.view)),
      message.leaf ? row("Leaf", h("code", { title: message.leaf }, shorten(message.leaf)), "differs") : null,
      message.high_qc_view === null || message.high_qc_view === undefined ? null : row("Highest QC", `of view ${count(message.high_qc_view)}`, "differs"),
      row("Signed by", proof.offender), row("Signature", h("code", { title: message.signature }, shorten(message.signature)))))))];
}

const row = (name, value, className = "") => h("div", { class: className }, h("dt", {}, name), h("dd", {}, value));
