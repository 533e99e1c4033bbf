package stranglerfig

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"stranglerfig/strangler-proxy/config"
)

// keyTables says where the reference has the keys of a mapping, by how an error
// names the mapping. What follows the name there belongs to the key.
var keyTables = []struct{ mapping, heading string }{
	{"capabilities.c.service", "Backends"},
	{"monolith", "Backends"},
	{"capabilities.c.routes GET /a shadow", "Mirroring"},
	{"capabilities.c.shadow", "Mirroring"},
	{"shadow", "Mirroring"},
	{"capabilities.c.routes GET /a", "Routes"},
	{"capabilities.c.waive", "Waivers"},
	{"capabilities.c.data.t", "Data"},
	{"capabilities.c", "Capabilities"},
	{"strangler.yaml", "Top level"},
	{"", "Top level"},
}

// names are those by which an example has mappings of one's own.
var names = strings.NewReplacer("chaos.links.l.", "chaos.links.NAME.", "columns.id.", "columns.NAME.")

// TestEveryKeyOfTheConfigIsExplained with its default, what it means and what it
// protects against, in a table of the reference.
func TestEveryKeyOfTheConfigIsExplained(t *testing.T) {
	rows := keyRows(t)
	_, err := config.Parse("everywhere.yaml", []byte(everywhere), environment)
	if err == nil {
		t.Fatal("unknown keys are accepted")
	}
	looked := 0
	for _, m := range regexp.MustCompile(`(?m)everywhere\.yaml:\d+: (.+): unknown key "nobody": accepted are (.+)$`).FindAllStringSubmatch(err.Error(), -1) {
		for _, key := range strings.Split(m[2], ", ") {
			heading, name := keyTable(m[1], key)
			explained := slices.ContainsFunc(rows[heading], func(row string) bool { return row == name || strings.HasPrefix(row, name+".") })
			if looked++; !explained {
				t.Errorf("%s does not explain %s (of %s) under %q", configReference, name, m[1], heading)
			}
		}
	}
	if looked < 100 {
		t.Errorf("only %d keys were looked for", looked)
	}
}

// keyTable returns where a key of a mapping is explained, and by what name.
func keyTable(mapping, key string) (heading, name string) {
	for _, at := range keyTables {
		if below, ok := strings.CutPrefix(mapping, at.mapping); ok && (at.mapping == "" || below == "" || below[0] == '.') {
			return at.heading, names.Replace(strings.TrimPrefix(below+"."+key, "."))
		}
	}
	return "", key
}

// keyRows returns the keys that the tables of the reference explain, by their
// headings. None of their cells may be empty; a dash says that there is nothing.
func keyRows(t *testing.T) map[string][]string {
	t.Helper()
	rows := map[string][]string{}
	heading, columns := "", 0
	for _, line := range strings.Split(read(t, configReference), "\n") {
		cells := strings.Split(strings.Trim(line, "|"), " | ")
		switch {
		case strings.HasPrefix(line, "#"):
			heading = strings.TrimLeft(line, "# ")
		case strings.HasPrefix(line, "| key |") && strings.Contains(line, " meaning |"):
			if columns = len(cells); !strings.Contains(line, "| default | meaning | protects against |") {
				t.Errorf("%s: the keys under %q are not explained by what they protect against", configReference, heading)
			}
		case !strings.HasPrefix(line, "|"):
			columns = 0
		case columns > 0 && !strings.HasPrefix(line, "|-"):
			if len(cells) != columns || slices.ContainsFunc(cells, func(cell string) bool { return strings.TrimSpace(cell) == "" }) {
				t.Errorf("%s: a cell is empty, or one too many: %s", configReference, line)
			}
			at := heading
			if at == "Clients" {
				at = "Top level"
			}
			rows[at] = append(rows[at], keysOf(cells[0])...)
		}
	}
	return rows
}

// keysOf lists the keys of a cell: what begins with a dot is beside the first.
func keysOf(cell string) (keys []string) {
	for _, m := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(cell, -1) {
		key := m[1]
		if strings.HasPrefix(key, ".") && len(keys) > 0 {
			key = keys[0][:strings.LastIndexByte(keys[0], '.')] + key
		}
		keys = append(keys, key)
	}
	return keys
}
