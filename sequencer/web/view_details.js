// One view in full: its phases, who signed what, and why it went as it did.

import { byId, h, redraw } from "./dom.js";
import { clock, count, list, milliseconds, plural, bytes, shorten } from "./format.js";
import { OUTCOMES } from "./matrix.js";

const ENTERED = {
  qc: "the quorum certificate of the view before", fc: "the finality certificate of the view before",
  tc: "the timeout certificate of the view before", epoch: "the end of the epoch before", start: "the start of the node",
};

export class ViewDetails {
  constructor(model) {
    this.model = model;
    this.view = null;
  }

  show(view) {
    this.view = view;
    this.draw();
  }

  draw() {
    const panel = byId("view");
    const { view, model } = this;
    panel.hidden = view === null;
    if (view === null) return;
    const fresh = model.views.find((other) => other.epoch === view.epoch && other.view === view.view) ?? view;
    const members = model.members.map((member) => member.name);
    redraw(panel, [fresh, members], () => [describeHead(fresh), h("div", { class: "pair" }, describePhases(fresh), describeSigners(fresh, members))]);
  }
}

function describeHead(view) {
  const leader = view.leader ? `${view.leader} leads for the ${view.committee} committee` : "its leader is not known here";
  return h("div", { class: "view-head", "data-outcome": view.outcome },
    h("h3", {}, `View ${count(view.view)}: ${OUTCOMES[view.outcome] ?? view.outcome}`),
    h("p", {}, `${leader}. Entered at ${clock(view.started_ms)} by ${ENTERED[view.entered_by] ?? view.entered_by}.`),
    view.reasons.length ? h("ul", { class: "reasons" }, view.reasons.map((reason) => h("li", {}, reason))) : null,
  );
}

function describePhases(view) {
  const { proposal } = view;
  const rows = [
    ["Proposal", proposal?.after_ms, proposal ? `${plural(proposal.transactions, "transaction")}, ${bytes(proposal.payload_bytes)}` : "none arrived"],
    ["Quorum certificate", view.qc_after_ms, "more than two thirds of the stake voted for it"],
    ["Finality certificate", view.fc_after_ms, "and voted to finalize it"],
  ];
  const ended = view.ended_ms === null ? null : view.ended_ms - view.started_ms;
  return h("div", {},
    h("table", { class: "phases" }, h("caption", {}, "Phases, from the moment the view was entered here"),
      h("tbody", {}, rows.map(([name, after, note]) => h("tr", { class: after === null || after === undefined ? "missing" : "" },
        h("th", { scope: "row" }, name), h("td", { class: "number" }, after === null || after === undefined ? "not seen" : milliseconds(after)), h("td", { class: "soft" }, note))),
      h("tr", {}, h("th", { scope: "row" }, "Left"), h("td", { class: "number" }, ended === null ? "not yet" : milliseconds(ended)), h("td", { class: "soft" }, view.timeout_cause ? `this node stopped voting: ${view.timeout_cause.replaceAll("_", " ")}` : "")))),
    proposal ? h("p", { class: "soft" }, "Leaf ", h("a", { href: `v1/blocks/${proposal.height}`, title: proposal.hash }, `${count(proposal.height)} · ${shorten(proposal.hash)}`)) : null,
  );
}

function describeSigners(view, members) {
  const rows = [["Quorum votes", "quorum", view.quorum_voters], ["Finalize votes", "finalize", view.finalize_voters], ["Timeout votes", "timeout", view.timeout_voters]];
  return h("table", { class: "signers" }, h("caption", {}, "Votes that this node has seen"),
    h("tbody", {}, rows.map(([title, kind, voters]) => {
      const missing = members.filter((name) => !voters.includes(name));
      return h("tr", {}, h("th", { scope: "row" }, h("i", { class: `glyph ${kind}`, "aria-hidden": "true" }), title),
        h("td", {}, voters.length ? list(voters) : "nobody"),
        h("td", { class: "soft" }, voters.length && missing.length ? `not ${list(missing)}` : ""));
    })));
}
