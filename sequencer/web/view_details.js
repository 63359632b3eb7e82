// One view in full: its phases, who signed what, and why it went as it did.

import { byId, h, redraw } from "./dom.js";
import { bytes, clock, count, list, milliseconds, shorten } from "./format.js";
import { OUTCOMES, describeContent } from "./matrix.js";

const ENTERED = {
  qc: "the quorum certificate of the view before", tc: "the timeout certificate of the view before",
  epoch: "the end of the epoch before", start: "the start of the node",
};
const CAUSES = {
  timer: "its timer ran out", others: "others had stopped", leader_lost: "the connection to the leader was lost",
  restarted: "the node was started again",
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
  const why = view.leader_reason ? ` (${view.leader_reason})` : "";
  const leader = view.leader ? `${view.leader} leads for the ${view.committee} committee${why}` : "Its leader is not known here";
  return h("div", { class: "view-head", "data-outcome": view.outcome },
    h("h3", {}, `View ${count(view.view)}: ${OUTCOMES[view.outcome] ?? view.outcome}`),
    h("p", {}, `${leader}. Entered at ${clock(view.started_ms)} by ${ENTERED[view.entered_by] ?? view.entered_by}.`),
    view.reasons.length ? h("ul", { class: "reasons" }, view.reasons.map((reason) => h("li", {}, reason))) : null,
  );
}

function describePhases(view) {
  const { proposal } = view;
  const rows = [
    ["Proposal", proposal?.after_ms, proposal ? `${describeContent(proposal)}, ${bytes(proposal.payload_bytes)}` : "none arrived"],
    ["Quorum certificate", view.qc_after_ms, "more than two thirds of the stake voted for it"],
    ["Finality certificate", view.fc_after_ms, "and voted to finalize it"],
  ];
  const ended = view.ended_ms === null ? null : view.ended_ms - view.started_ms;
  return h("div", {},
    h("table", { class: "phases" }, h("caption", {}, "Phases, from the moment the view was entered here"),
      h("tbody", {}, rows.map(([name, after, note]) => h("tr", { class: after === null || after === undefined ? "missing" : "" },
        h("th", { scope: "row" }, name), h("td", { class: "number" }, after === null || after === undefined ? "not seen" : milliseconds(after)), h("td", { class: "soft" }, note))),
      h("tr", {}, h("th", { scope: "row" }, "Left"), h("td", { class: "number" }, ended === null ? "not yet" : milliseconds(ended)), h("td", { class: "soft" }, describeStop(view))))),
    proposal ? h("p", { class: "soft" }, "Leaf ", h("a", { href: `v1/blocks/${proposal.height}`, title: proposal.hash }, `${count(proposal.height)} · ${shorten(proposal.hash)}`)) : null,
  );
}

function describeStop(view) {
  if (!view.timeout_cause) return "";
  return `this node stopped voting after ${milliseconds(view.timeout_after_ms)}: ${CAUSES[view.timeout_cause] ?? view.timeout_cause}`;
}

function describeSigners(view, members) {
  const rows = [["Quorum votes", "quorum", view.quorum_voters], ["Finalize votes", "finalize", view.finalize_voters], ["Timeout votes", "timeout", view.timeout_voters]];
  return h("table", { class: "signers" }, h("caption", {}, "Votes that this node has seen"),
    h("tbody", {}, rows.map(([title, kind, voters]) => {
      const missing = members.filter((name) => !voters.includes(name));
      return h("tr", {}, h("th", { scope: "row" }, h("i", { class: `glyph ${kind}`, "aria-hidden": "true" }), title),
        h("td", {}, voters.length ? list(voters) : "nobody"),
        h("td", { class: "soft" }, voters.length && missing.length ? `not ${list(missing)}` : ""));
    }), describeOddities(view)));
}

function describeOddities({ rival_voters, late_voters }) {
  const rows = [["For another block", rival_voters], ["Too late to count here", late_voters]];
  return rows.filter(([, voters]) => voters.length).map(([title, voters]) =>
    h("tr", {}, h("th", { scope: "row" }, title), h("td", { colspan: 2 }, list(voters))));
}
