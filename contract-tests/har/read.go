package har

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"stranglerfig/contract-tests/contract"
	"stranglerfig/contract-tests/tape"
)

// MaxFile bounds a file, in bytes. One with a day's browsing and its pictures
// is usually smaller.
const MaxFile = 256 << 20

// Choose says whether an exchange is wanted, and of which route it is: a
// pattern, or empty. Asks is what the route asks for beside method and path.
type Choose func(r *http.Request) (route string, asks []string, wanted bool)

// Traffic is what a file holds.
type Traffic struct {
	Exchanges []tape.Exchange
	Left      map[string]int // how many entries were left out, by reason
}

// The reasons to leave an entry out.
const (
	Unwanted   = "not chosen"
	NotHTTP    = "not HTTP"
	NoAnswer   = "without an answer"
	BodyUnkept = "whose body was not saved"
)

// Read reads a file and chooses from it.
func Read(r io.Reader, choose Choose) (Traffic, error) {
	data, err := io.ReadAll(io.LimitReader(r, MaxFile+1))
	if err != nil {
		return Traffic{}, fmt.Errorf("read HAR: %w", err)
	}
	if len(data) > MaxFile {
		return Traffic{}, fmt.Errorf("read HAR: the file is larger than %d MiB", MaxFile>>20)
	}
	if data, err = contract.Text(data); err != nil {
		return Traffic{}, fmt.Errorf("read HAR: %w", err)
	}
	var f struct {
		Log *struct {
			Entries []json.RawMessage `json:"entries"`
		} `json:"log"`
	}
	if err := json.Unmarshal(data, &f); err != nil {
		return Traffic{}, fmt.Errorf("read HAR: %s%w", contract.Position(data, err), contract.Misread(err))
	}
	if f.Log == nil {
		return Traffic{}, errors.New("read HAR: the file has no log (accepted: an object log with a list entries)")
	}
	t := Traffic{Left: map[string]int{}}
	var problems []error
	for n, raw := range f.Log.Entries {
		err := t.entry(raw, choose)
		if err != nil {
			for _, line := range strings.Split(err.Error(), "\n") {
				problems = append(problems, fmt.Errorf("log.entries[%d]: %s", n, line))
			}
		}
	}
	if err := errors.Join(problems...); err != nil {
		return Traffic{}, fmt.Errorf("read HAR: %w", err)
	}
	return t, nil
}

// entry adds one entry, or counts why it is left out.
func (t *Traffic) entry(raw json.RawMessage, choose Choose) error {
	var e entry
	if err := json.Unmarshal(raw, &e); err != nil {
		return fmt.Errorf("no entry: %w", contract.Misread(err))
	}
	address, err := url.Parse(e.Request.URL)
	if err != nil {
		return fmt.Errorf("request.url: %w", err)
	}
	if address.Scheme != "http" && address.Scheme != "https" || e.Response.Status == http.StatusSwitchingProtocols {
		t.Left[NotHTTP]++
		return nil
	}
	x := tape.Exchange{At: e.Started}
	x.Request = tape.Request{Method: strings.ToUpper(e.Request.Method), Path: path(address), Query: query(address, e.Request.Query), Header: fields(e.Request.Header)}
	route, asks, wanted := choose(asked(x.Request, address))
	switch {
	case !wanted:
		t.Left[Unwanted]++
		return nil
	case e.Response.Status == 0:
		t.Left[NoAnswer]++
		return nil
	}
	x.Route, x.Asks = route, asks
	sent, sentWhole, errSent := e.Request.Body.bytes()
	answered, answeredWhole, errAnswered := e.Response.Body.bytes(e.Response.BodySize)
	if err := errors.Join(prefix("request.postData: ", errSent), prefix("response.content: ", errAnswered)); err != nil {
		return err
	}
	if !sentWhole || !answeredWhole {
		t.Left[BodyUnkept]++
		return nil
	}
	if b := e.Request.Body; b != nil && b.Media != "" && x.Request.Header["Content-Type"] == nil {
		x.Request.Header["Content-Type"] = []string{b.Media}
	}
	x.Request.Body = sent
	x.Response = tape.Response{Status: e.Response.Status, Header: fields(e.Response.Header), Body: answered}
	// The text is what the client saw, after transport and compression.
	for _, header := range []map[string][]string{x.Request.Header, x.Response.Header} {
		for _, name := range []string{"Content-Encoding", "Content-Length", "Transfer-Encoding", "Connection"} {
			delete(header, name)
		}
	}
	t.Exchanges = append(t.Exchanges, x)
	return nil
}

func prefix(place string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s%w", place, err)
}

// asked is the request as a chooser looks at it.
func asked(r tape.Request, address *url.URL) *http.Request {
	return &http.Request{Method: r.Method, URL: address, Host: address.Host, Header: r.Header}
}

func path(address *url.URL) string {
	if p := address.EscapedPath(); p != "" {
		return p
	}
	return "/"
}

// query is what the address has; some writers have it in its list only.
func query(address *url.URL, list []pair) string {
	if address.RawQuery != "" {
		return address.RawQuery
	}
	return encoded(list)
}

// encoded writes pairs as a query or a form, in their order.
func encoded(list []pair) string {
	var parts []string
	for _, p := range list {
		parts = append(parts, url.QueryEscape(p.Name)+"="+url.QueryEscape(p.Value))
	}
	return strings.Join(parts, "&")
}

// fields are header fields under their canonical names, without those that
// HTTP/2 makes of the first line.
func fields(list []pair) map[string][]string {
	header := http.Header{}
	for _, p := range list {
		if !strings.HasPrefix(p.Name, ":") {
			header.Add(p.Name, p.Value)
		}
	}
	return header
}

// bytes is a request's body; whole tells whether the file has it all.
func (p *posted) bytes() (body []byte, whole bool, err error) {
	switch {
	case p == nil:
		return nil, true, nil
	case p.Text != nil && (*p.Text != "" || len(p.Params) == 0):
		body, err = decoded(*p.Text, p.Encoding)
		return body, true, err
	case len(p.Params) == 0:
		return nil, true, nil
	case strings.HasPrefix(p.Media, "application/x-www-form-urlencoded"):
		return []byte(encoded(p.Params)), true, nil
	}
	return nil, false, nil // a multipart form: its boundaries and files are gone
}

// bytes is an answer's body; transferred is how many bytes came, -1 if unknown.
func (c content) bytes(transferred int) (body []byte, whole bool, err error) {
	if c.Text == nil {
		return []byte{}, c.Size <= 0 && transferred <= 0, nil
	}
	body, err = decoded(*c.Text, c.Encoding)
	return body, true, err
}

func decoded(text, encoding string) ([]byte, error) {
	switch {
	case encoding == "":
		return check([]byte(text))
	case strings.EqualFold(encoding, "base64"):
		// Some writers break lines, or leave the padding out.
		text = strings.TrimRight(strings.Map(withoutSpace, text), "=")
		body, err := base64.RawStdEncoding.DecodeString(text)
		if err != nil {
			return nil, fmt.Errorf("text is not base64 as encoding says: %w", err)
		}
		return check(body)
	}
	return nil, fmt.Errorf("encoding is %q (accepted: base64, or none)", encoding)
}

func check(body []byte) ([]byte, error) {
	if len(body) > contract.MaxBody {
		return nil, fmt.Errorf("%d bytes (accepted: up to %d MiB)", len(body), contract.MaxBody>>20)
	}
	return body, nil
}

func withoutSpace(c rune) rune {
	if slices.Contains([]rune(" \t\r\n"), c) {
		return -1
	}
	return c
}
