package http1_test

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"stranglerfig/contract-tests/harness/require"
	"stranglerfig/strangler-proxy/http1"
)

// llhttpCorpus is where the cases of llhttp are: Markdown with messages and
// the events that its parser tells of them.
const llhttpCorpus = "../../../shared/corpora/llhttp"

// llhttpCase is one of them.
type llhttpCase struct {
	name, kind string // file and heading; what parser reads it, and how
	text       string
	events     []string
}

// reading is what a parser makes of a case: the messages whose heads it took,
// and why it refused to go on, if it did.
type reading struct {
	messages []string
	refused  string
}

func TestMessagesAreReadAsLlhttpReadsThem(t *testing.T) {
	cases := llhttpCases(t)
	listed := map[string]llhttpDifference{}
	for _, d := range llhttpDifferences {
		for _, name := range d.cases {
			listed[name] = d
		}
	}
	differing := len(listed)
	for _, c := range cases {
		want, got := c.expected(t), c.read()
		difference, ok := listed[c.name]
		delete(listed, c.name)
		switch same := got.equal(want); {
		case same && ok:
			t.Errorf("%s: is listed as a difference, and is none", c.name)
		case !same && !ok:
			t.Errorf("%s: %q\nis read by llhttp as\n%s\nand by us as\n%s", c.name, c.text, want, got)
		case !same && difference.ours != got.refused:
			t.Errorf("%s: refused because of %q, and listed as %q", c.name, got.refused, difference.ours)
		}
	}
	for name := range listed {
		t.Errorf("%s: is listed as a difference, and there is no such case", name)
	}
	if len(cases) == 0 {
		t.Fatal("the corpus has no cases")
	}
	t.Logf("%d cases, of which %d differ for reasons that are listed", len(cases), differing)
}

// equal compares two readings. Where both refuse, one may have seen a little
// more of the message that it refuses.
func (r reading) equal(other reading) bool {
	if r.refused != "" && other.refused != "" {
		r.messages, other.messages = r.whole(), other.whole()
	}
	return slices.Equal(r.messages, other.messages) && (r.refused == "") == (other.refused == "")
}

func (r reading) whole() []string {
	return slices.DeleteFunc(slices.Clone(r.messages), func(m string) bool { return strings.Contains(m, incomplete) })
}

func (r reading) String() string {
	return strings.Join(append(slices.Clone(r.messages), "refused: "+r.refused), "\n")
}

// incomplete marks what is not known to be a whole message.
const incomplete = " and more"

// message says what was read of a message in the words both sides share.
func message(start string, fields, trailers []http1.Field, body []byte, complete bool) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %q", start, body)
	if !complete {
		b.WriteString(incomplete)
	}
	for _, list := range [][]http1.Field{fields, trailers} {
		for _, f := range list {
			fmt.Fprintf(&b, " [%s: %s]", f.Name, strings.Join(strings.Fields(f.Value), " "))
		}
		b.WriteString(" /")
	}
	return b.String()
}

// llhttpCases reads the corpus.
func llhttpCases(t *testing.T) []llhttpCase {
	t.Helper()
	dir := os.Getenv("STRANGLER_LLHTTP_CORPUS")
	if dir == "" {
		dir = llhttpCorpus
		if _, err := os.Stat(dir); err != nil {
			require.Missing(t, "llhttp", fmt.Sprintf("the cases of llhttp are not here (set STRANGLER_LLHTTP_CORPUS to their folder): %v", err))
		}
	}
	files, err := filepath.Glob(filepath.Join(dir, "test", "*", "*.md"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases in %s: %v", dir, err)
	}
	var cases []llhttpCase
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Base(filepath.Dir(file)) + "/" + strings.TrimSuffix(filepath.Base(file), ".md")
		blocks := llhttpBlocks(name, string(raw))
		if want := strings.Count(string(raw), "\n```http\n"); len(blocks) != want {
			t.Fatalf("%s has %d cases, of which %d are understood", file, want, len(blocks))
		}
		cases = append(cases, blocks...)
	}
	return cases
}

var (
	llhttpBlock  = regexp.MustCompile("(?ms)^#+ ([^\n]+)$|^<!-- meta=\\{ *\"type\": *\"([a-z-]+)\"(.*?)\\} -->\\s*```http\n(.*?)^```\n(?:(?:[^`\n][^\n]*)?\n)*```log\n(.*?)^```$")
	llhttpEscape = regexp.MustCompile(`\\(x[0-9a-fA-F]+|[rntf])`)
)

// llhttpBlocks takes a file apart.
func llhttpBlocks(file, text string) []llhttpCase {
	var cases []llhttpCase
	heading, seen := "", map[string]int{}
	for _, m := range llhttpBlock.FindAllStringSubmatch(text, -1) {
		if m[1] != "" {
			heading = m[1]
			continue
		}
		name := file + ": " + heading
		if seen[name]++; seen[name] > 1 {
			name += fmt.Sprintf(" (%d)", seen[name])
		}
		kind := m[2]
		if strings.Contains(m[3], "skipBody") {
			kind += " HEAD"
		}
		cases = append(cases, llhttpCase{name, kind, llhttpText(m[4]), strings.Split(strings.TrimSpace(m[5]), "\n")})
	}
	return cases
}

// llhttpText turns a block into the bytes it stands for: lines end in CR and
// LF, a backslash joins two lines, and escapes are what they mean.
func llhttpText(block string) string {
	block = strings.ReplaceAll(strings.TrimSuffix(block, "\n"), "\\\n", "")
	block = strings.ReplaceAll(block, "\n", "\r\n")
	return llhttpUnescape(block)
}

func llhttpUnescape(text string) string {
	return llhttpEscape.ReplaceAllStringFunc(text, func(escape string) string {
		if escape[1] == 'x' {
			n, _ := strconv.ParseUint(escape[2:], 16, 21)
			return string(rune(n)) // in UTF-8, as llhttp writes it
		}
		return map[string]string{`\r`: "\r", `\n`: "\n", `\t`: "\t", `\f`: "\f"}[escape]
	})
}

// llhttpQuoted is what a span is told to hold.
func llhttpQuoted(told string) string {
	switch told {
	case "cr":
		return "\r"
	case "lf":
		return "\n"
	}
	return llhttpUnescape(strings.TrimSuffix(strings.TrimPrefix(told, `"`), `"`))
}

var (
	llhttpSpan  = regexp.MustCompile(`^off=(\d+) len=(\d+) span\[([a-z_]+)\]=(.*)$`)
	llhttpError = regexp.MustCompile(`error code=(\d+) reason="(.*)"`)
)

// expected puts together what the events tell.
func (c llhttpCase) expected(t *testing.T) reading {
	var r reading
	var m llhttpMessage
	for _, event := range c.events {
		if at := llhttpSpan.FindStringSubmatch(event); at != nil {
			from, _ := strconv.Atoi(at[1])
			length, _ := strconv.Atoi(at[2])
			if from+length > len(c.text) || c.text[from:from+length] != llhttpQuoted(at[4]) {
				t.Fatalf("%s: %s is not what is there in %q", c.name, event, c.text)
			}
			m.span(at[3], c.text[from:from+length])
			continue
		}
		switch failed := llhttpError.FindStringSubmatch(event); {
		case failed != nil:
			// 5: bytes after the last message of a connection, which we never look
			// at; 22 and 23: another protocol follows.
			if !slices.Contains([]string{"5", "22", "23"}, failed[1]) {
				r.refused = failed[2]
			}
		case strings.HasSuffix(event, "message begin"):
			r.take(&m)
		case strings.HasSuffix(event, "message complete"):
			m.complete = true
		case strings.Contains(event, "headers complete"):
			m.headed = true
		}
	}
	r.take(&m)
	return r
}

// llhttpMessage is what events have told of a message.
type llhttpMessage struct {
	start            []string // method and target, or reason
	fields, trailers []http1.Field
	body             []byte
	headed, complete bool
}

func (m *llhttpMessage) span(what, text string) {
	list := &m.fields
	if m.headed {
		list = &m.trailers
	}
	switch what {
	case "method", "url", "status":
		m.start = append(m.start, text)
	case "body":
		m.body = append(m.body, text...)
	case "header_field":
		*list = append(*list, http1.Field{Name: text})
	case "header_value":
		last := &(*list)[len(*list)-1]
		last.Value += " " + text
	}
}

// take ends a message.
func (r *reading) take(m *llhttpMessage) {
	if m.headed {
		r.messages = append(r.messages, message(strings.Join(m.start, " "), m.fields, m.trailers, m.body, m.complete))
	}
	*m = llhttpMessage{}
}

// read reads a case as the proxy would.
func (c llhttpCase) read() (r reading) {
	rest := c.text
	for more := true; more; {
		n := http1.HeadEnd([]byte(rest), 0)
		if n == 0 {
			// What is wrong in a head is seen when the head has ended.
			if strings.Trim(rest, "\r\n") != "" && len(c.events) > 0 && llhttpError.MatchString(c.events[len(c.events)-1]) {
				r.refused = c.head(strings.TrimRight(rest, "\r\n") + "\r\n\r\n").refused
			}
			return r
		}
		h := c.head(rest[:n])
		if r.refused = h.refused; r.refused != "" {
			return r
		}
		rest = rest[n:]
		var b received
		b, rest = receive(rest, h.length)
		r.refused = b.refused
		r.messages = append(r.messages, message(h.start, h.fields, b.trailers, b.data, b.complete))
		more = b.complete && !h.last
	}
	return r
}

// parsed is a head as either parser of ours reads it.
type parsed struct {
	start   string
	fields  []http1.Field
	length  int64
	last    bool // another protocol, or nothing, follows
	refused string
}

func (c llhttpCase) head(text string) parsed {
	if strings.HasPrefix(c.kind, "response") {
		var r http1.Response
		method := "GET"
		if strings.HasSuffix(c.kind, "HEAD") {
			method = "HEAD"
		}
		if err := r.Parse(text, method, limits); err != nil {
			return parsed{refused: strings.TrimPrefix(err.Error(), http1.ErrMalformed.Error()+": ")}
		}
		return parsed{start: r.Reason, fields: r.Fields, length: r.Length, last: r.Close || r.Status == 101 || r.Upgrade != ""}
	}
	var r http1.Request
	err := r.Parse(text, limits)
	if refusal, ok := err.(*http1.Refusal); ok && refusal.Reason == "host-missing" {
		// Most cases have no Host, which is not what they are about.
		line, fields, _ := strings.Cut(strings.TrimLeft(text, "\r\n"), "\r\n")
		if err = r.Parse(line+"\r\nHost: "+cmp.Or(r.Host, "llhttp")+"\r\n"+fields, limits); err == nil {
			r.Fields = r.Fields[1:]
		}
	}
	if refusal, ok := err.(*http1.Refusal); ok {
		return parsed{refused: refusal.Reason}
	}
	return parsed{start: r.Method + " " + r.Target, fields: r.Fields, length: r.Length, last: r.Close || r.Upgrade != ""}
}

// received is what there is of a body.
type received struct {
	data     []byte
	trailers []http1.Field
	complete bool
	refused  string
}

func receive(text string, length int64) (b received, rest string) {
	switch length {
	case http1.UntilClose:
		return received{data: []byte(text)}, ""
	case http1.Chunked:
	default:
		n := min(int(length), len(text))
		return received{data: []byte(text[:n]), complete: n == int(length)}, text[n:]
	}
	var c http1.Chunks
	for text != "" && !b.complete {
		data, n, done, err := c.Next([]byte(text))
		if refusal, ok := err.(*http1.Refusal); ok {
			b.refused = refusal.Reason
			break
		}
		b.data, text, b.complete = append(b.data, data...), text[n:], done
	}
	b.trailers = c.Trailers()
	return b, text
}
