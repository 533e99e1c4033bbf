package control

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"stranglerfig/strangler-proxy/control/api"
	"stranglerfig/strangler-proxy/shadow"
)

// facts are what the playbook decides by.
type facts struct {
	name           string
	data, contract bool
	status         api.Capability
	routeGates     map[string][]api.Finding // of each read route, for the service owning it
}

// rung is one step of the ladder.
type rung struct {
	name    string
	applies bool
	done    bool
	text    string
	command string
	needs   []api.Finding
}

// ladder lays out the steps of a capability: what is done, which one is next,
// and the exact command for it.
func ladder(f facts) api.Playbook {
	book := api.Playbook{Capability: f.name}
	found := false
	for _, r := range rungs(f) {
		if !r.applies {
			continue
		}
		s := api.Step{Name: r.name, Text: r.text}
		switch {
		case r.done:
			s.State = "done"
		case !found:
			found = true
			s.State, s.Command = "next", r.command
			book.Command, book.Needs = r.command, closedGates(r.needs)
		default:
			s.State = "later"
		}
		book.Steps = append(book.Steps, s)
	}
	return book
}

func rungs(f facts) []rung {
	reads, writes := split(f.status.Routes)
	state := ""
	if f.status.Data != nil {
		state = f.status.Data.State
	}
	moved := f.status.WriteOwner == "service"
	gates := map[string]api.Finding{}
	for _, g := range f.status.Gates {
		gates[g.Gate] = g
	}
	run := func(verb string) string { return "strangler " + verb + " " + f.name }
	return []rung{
		{name: "the service is deployed and healthy", applies: true, done: gates["health"].Open(), text: gates["health"].Text, command: gates["health"].Command},
		{name: "a contract is recorded from live traffic", applies: true, done: f.contract, text: "capabilities." + f.name + ".contract", command: gates["contract"].Command},
		{name: "both databases are prepared", applies: f.data, done: beyond(state, "prepared"), text: "triggers, fences, a change log", command: run("data prepare")},
		{name: "the data is copied and followed", applies: f.data, done: beyond(state, "catching-up"), text: lag(f.status.Data), command: run(following(state))},
		{name: "both sides are proven equal", applies: f.data, done: gates["verify"].Open() || state == "complete", text: verifyText(state, gates["verify"].Text), command: run("data verify")},
		{name: "both sides fulfil the contract", applies: true, done: gates["contract"].Open(), text: gates["contract"].Text, command: run("contract verify")},
		{name: "reads are shadowed and match", applies: len(reads) > 0, done: state == "complete" || all(reads, func(r api.Route) bool { return shadowDone(r, f.routeGates[r.ID]) }), text: shadowText(f.status.Shadow), command: firstOf(ownCommand(reads, "monolith", "shadow"), run("shadow status")), needs: notShadow(f.routeGates)},
		{name: "reads are canaried", applies: len(reads) > 0, done: state == "complete" || all(reads, func(r api.Route) bool { return atLeast(r, "canary") }), command: ownCommand(reads, "shadow", "canary 10%")},
		{name: "reads belong to the service", applies: len(reads) > 0, done: state == "complete" || all(reads, func(r api.Route) bool { return atLeast(r, "service") }), command: ownCommand(reads, "canary", "service"), needs: merge(f.routeGates)},
		{name: "the cutover is rehearsed", applies: f.data && len(writes) > 0, done: gates["rehearsal"].Open() || moved, text: gates["rehearsal"].Text, command: run("data rehearse")},
		{name: "writes and data belong to the service", applies: f.data && len(writes) > 0, done: moved, text: owner(f.status), command: run("cutover"), needs: f.status.Gates},
		{name: "writes belong to the service", applies: !f.data && len(writes) > 0, done: all(writes, func(r api.Route) bool { return r.Actual == "service" }), command: ownCommand(writes, "", "service"), needs: f.status.Gates},
		{name: "the move is completed, after which there is no rollback", applies: f.data, done: state == "complete", text: completeText(state, f.name, f.status.Shadow), command: run("data complete") + " --confirm " + f.name},
	}
}

// following names the verb that gets the data followed.
func following(state string) string {
	if state == "paused" {
		return "data resume"
	}
	return "data copy"
}

// order of the states of a move, as far as the ladder is concerned.
var order = []string{"planned", "preparing", "prepared", "copying", "catching-up", "ready", "moved", "completing", "complete"}

// beyond reports whether a state is a given one or a later one. States within
// a switch count as ready.
func beyond(state, than string) bool {
	at := func(s string) int {
		for i, have := range order {
			if have == s {
				return i
			}
		}
		switch s {
		case "cancelled", "cancelling", "":
			return 0
		case "paused":
			return 2 // nothing is followed
		}
		return 5
	}
	return at(state) >= at(than)
}

func split(routes []api.Route) (reads, writes []api.Route) {
	for _, r := range routes {
		if r.Writes {
			writes = append(writes, r)
		} else {
			reads = append(reads, r)
		}
	}
	return reads, writes
}

func all(routes []api.Route, ok func(api.Route) bool) bool {
	for _, r := range routes {
		if !ok(r) {
			return false
		}
	}
	return true
}

// atLeast compares a route's actual word with a stage.
func atLeast(r api.Route, stage string) bool {
	rank := map[string]int{"monolith": 0, "shadow": 1, "canary": 2, "service": 3}
	word, _, _ := strings.Cut(r.Actual, " ")
	return rank[word] >= rank[stage]
}

// shadowDone reports whether a route's reads need no more of the shadow: it has
// said enough, or they are the service's. A canary may begin before that, but not
// hide what is known to differ.
func shadowDone(r api.Route, findings []api.Finding) bool {
	differs := slices.ContainsFunc(findings, func(f api.Finding) bool { return f.Gate == "shadow" && f.Verdict == api.Fail })
	return open(findings, "shadow") || atLeast(r, "service") || atLeast(r, "canary") && !differs
}

func open(findings []api.Finding, gate string) bool {
	for _, f := range findings {
		if f.Gate == gate {
			return f.Open()
		}
	}
	return true
}

// ownCommand names the command for the routes that are to take a step: one of
// them, or the whole capability's reads.
func ownCommand(routes []api.Route, below, to string) string {
	for _, r := range routes {
		word, _, _ := strings.Cut(r.Actual, " ")
		if below == "" && r.Actual != to || below != "" && !atLeast(r, strings.Fields(to)[0]) && (word == below || !atLeast(r, below)) {
			return fmt.Sprintf("strangler own %q %q", r.ID, to)
		}
	}
	for _, r := range routes {
		if !atLeast(r, strings.Fields(to)[0]) {
			return fmt.Sprintf("strangler own %q %q", r.ID, to)
		}
	}
	return ""
}

func merge(gates map[string][]api.Finding) []api.Finding {
	seen := map[string]bool{}
	var out []api.Finding
	for _, id := range slices.Sorted(maps.Keys(gates)) {
		for _, f := range gates[id] {
			if !seen[f.Gate] && !f.Open() {
				seen[f.Gate] = true
				out = append(out, f)
			}
		}
	}
	return out
}

func notShadow(gates map[string][]api.Finding) []api.Finding {
	var out []api.Finding
	for _, f := range merge(gates) {
		if f.Gate != "shadow" {
			out = append(out, f)
		}
	}
	return out
}

func lag(d *api.Data) string {
	if d == nil {
		return ""
	}
	if d.State == "paused" {
		return "paused: " + d.Paused
	}
	return fmt.Sprintf("%s, %d changes behind", d.State, d.Lag)
}

func shadowText(shadows []api.Shadow) string {
	var compared, mismatched int64
	missing := 0
	for _, s := range shadows {
		if s.Direction != string(shadow.Forward) {
			continue
		}
		compared += s.Compared
		mismatched += s.Mismatched
		missing += s.Stop.Missing
	}
	text := fmt.Sprintf("%d compared, %d differ", compared, mismatched)
	if missing > 0 {
		text += fmt.Sprintf(", %d more are asked for", missing)
	}
	return text
}

// reverseText says what was found on reads that were mirrored back.
func reverseText(shadows []api.Shadow) string {
	var compared, mismatched int64
	for _, s := range shadows {
		if s.Direction == string(shadow.Reverse) {
			compared += s.Compared
			mismatched += s.Mismatched
		}
	}
	if compared == 0 {
		return ""
	}
	return fmt.Sprintf("; %d reads mirrored back to the monolith, %d differ", compared, mismatched)
}

func owner(c api.Capability) string {
	return fmt.Sprintf("the %s owns them at epoch %d", c.WriteOwner, c.Epoch)
}

func verifyText(state, text string) string {
	if state == "complete" {
		return "nothing is followed any more"
	}
	return text
}

func completeText(state, name string, shadows []api.Shadow) string {
	if state == "complete" {
		return "the monolith's tables were renamed"
	}
	return "the reverse feed runs until then; strangler rollback " + name + " loses nothing" + reverseText(shadows)
}
