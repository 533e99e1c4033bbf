package cli

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/term"

	"stranglerfig/migrations/change"
	"stranglerfig/strangler-proxy/control/api"
)

// meter shows progress: one line rewritten on a terminal, a line now and then
// otherwise, and nothing for machines.
type meter struct {
	e        *env
	terminal bool
	last     time.Time
	open     bool // a line is being rewritten
}

func newMeter(e *env) *meter {
	f, ok := e.out.(*os.File)
	return &meter{e: e, terminal: ok && term.IsTerminal(int(f.Fd()))}
}

const plainEvery = 5 * time.Second

func (m *meter) event(v api.Event) {
	if m.e.json {
		return
	}
	switch {
	case v.Progress != nil:
		m.line(v.Progress.Table+": "+progressText(*v.Progress), v.Progress.Finished)
	case v.Step != nil:
		fmt.Fprintf(m.e.out, "  %-8s %7.1f ms\n", v.Step.Name, v.Step.MS)
	case v.Text != "":
		m.line(v.Text, false)
	}
}

func (m *meter) line(text string, last bool) {
	switch {
	case m.terminal:
		fmt.Fprintf(m.e.out, "\r\x1b[K%s", text)
		m.open = true
		if last {
			m.end()
		}
	case last || time.Since(m.last) >= plainEvery:
		fmt.Fprintln(m.e.out, text)
		m.last = time.Now()
	}
}

func (m *meter) end() {
	if m.open {
		fmt.Fprintln(m.e.out)
		m.open = false
	}
}

func progressText(p change.Progress) string {
	text := fmt.Sprintf("%d of %d rows", p.Done, p.Total)
	if p.Total < p.Done {
		text = fmt.Sprintf("%d rows", p.Done)
	}
	if p.Finished {
		return text + ", done"
	}
	if p.Waiting != "" {
		return text + ", waiting: " + p.Waiting
	}
	if p.Rate > 0 {
		text += fmt.Sprintf(", %.0f rows/s", p.Rate)
	}
	if p.ETA > 0 {
		text += ", " + p.ETA.Round(time.Second).String() + " left"
	}
	return text
}
