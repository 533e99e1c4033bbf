package tape

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strconv"
	"sync"
	"time"
)

// RecorderOptions are a recorder's bounds.
type RecorderOptions struct {
	Queue   int // exchanges that may wait to be written; 0 is 1024
	MaxBody int // bytes kept of each body; 0 is 64 KiB
	// Sample is the share that is recorded, 0 is all. It is drawn by client and
	// for ten seconds at a time, so that what a client does in one go stays
	// together.
	Sample float64
	Count  uint64 // exchanges written at most; 0 is no bound
	Bytes  int64  // of the tape at most; 0 is 256 MiB
}

// Stats counts what became of the exchanges offered.
type Stats struct {
	Written   uint64 `json:"written"`
	Bytes     int64  `json:"bytes"`     // of the tape
	Unsampled uint64 `json:"unsampled"` // not drawn
	Beyond    uint64 `json:"beyond"`    // the tape was as long as it may become
	Dropped   uint64 `json:"dropped"`   // the queue was full, or the recorder not running
	Failed    uint64 `json:"failed"`    // could not be written

	full bool
}

// Recorder appends exchanges to a tape file, redacted. Its memory is bounded
// by its queue times twice the bodies' cap. It is safe for concurrent use.
type Recorder struct {
	path     string
	redactor *Redactor
	maxBody  int
	o        RecorderOptions

	mu      sync.RWMutex // held to read while offering, so that Stop can close the queue
	running bool
	queue   chan Exchange
	size    int
	done    chan struct{} // closed by the writer when it has ended

	counts sync.Mutex
	stats  Stats
	failed error // the first failure
}

// NewRecorder returns a recorder to the file at path, which is created with
// Start. It refuses to work without a redactor.
func NewRecorder(path string, redactor *Redactor, o RecorderOptions) (*Recorder, error) {
	if redactor == nil {
		return nil, errors.New("record: no redactor given: traffic is never written as it is")
	}
	if o.Queue <= 0 {
		o.Queue = 1024
	}
	if o.MaxBody <= 0 {
		o.MaxBody = 64 << 10
	}
	if o.Bytes <= 0 {
		o.Bytes = 256 << 20
	}
	if o.Sample < 0 || o.Sample > 1 {
		return nil, fmt.Errorf("record: a sample of %v (accepted: above 0, up to 1)", o.Sample)
	}
	return &Recorder{path: path, redactor: redactor, maxBody: o.MaxBody, size: o.Queue, o: o}, nil
}

// Start opens the file, readable by its owner only, and begins to write.
func (r *Recorder) Start() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.running {
		return errors.New("record: already started")
	}
	f, err := open(r.path)
	if err != nil {
		return fmt.Errorf("record: %w", err)
	}
	if info, err := f.Stat(); err == nil {
		r.count(func(s *Stats) { s.Bytes = info.Size() }) // of what an earlier run wrote
	}
	r.queue = make(chan Exchange, r.size)
	r.done = make(chan struct{})
	r.running = true
	go r.write(f, r.queue, r.done)
	return nil
}

// open makes an existing file private too, and ends a line that a crash cut.
func open(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := f.Chmod(0o600); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	if err := endLine(f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func endLine(f *os.File) error {
	info, err := f.Stat()
	if err != nil || info.Size() == 0 {
		return err
	}
	last := make([]byte, 1)
	if _, err := f.ReadAt(last, info.Size()-1); err != nil {
		return err
	}
	if last[0] == '\n' {
		return nil
	}
	_, err = f.Write([]byte("\n"))
	return err
}

// Offer hands over an exchange, which the caller must not change afterwards.
// It never blocks: it reports false if the exchange was not drawn, or was
// dropped, because the queue or the tape is full or the recorder not running.
func (r *Recorder) Offer(e Exchange) bool {
	if !r.drawn(e) {
		r.count(func(s *Stats) { s.Unsampled++ })
		return false
	}
	e.Request.Body = r.capped(e.Request.Body, &e.Truncated)
	e.Response.Body = r.capped(e.Response.Body, &e.Truncated)
	r.mu.RLock()
	defer r.mu.RUnlock()
	if r.running {
		select {
		case r.queue <- e:
			return true
		default:
		}
	}
	r.count(func(s *Stats) { s.Dropped++ })
	return false
}

// capped copies what it cuts, so that the whole body is not kept alive.
func (r *Recorder) capped(body Body, truncated *bool) Body {
	if len(body) <= r.maxBody {
		return body
	}
	*truncated = true
	return bytes.Clone(body[:r.maxBody])
}

// Stop writes what is queued, closes the file and returns the first failure
// since Start. It may be called again.
func (r *Recorder) Stop() error {
	r.mu.Lock()
	done := r.done
	if r.running {
		r.running = false
		close(r.queue)
	}
	r.mu.Unlock()
	if done == nil {
		return nil
	}
	<-done
	r.counts.Lock()
	defer r.counts.Unlock()
	return r.failed
}

// Stats tells how many exchanges were written, dropped and failed so far.
func (r *Recorder) Stats() Stats {
	r.counts.Lock()
	defer r.counts.Unlock()
	return r.stats
}

func (r *Recorder) count(change func(*Stats)) {
	r.counts.Lock()
	defer r.counts.Unlock()
	change(&r.stats)
}

// write is the recorder's one goroutine; Stop waits for it.
func (r *Recorder) write(f *os.File, queue <-chan Exchange, done chan<- struct{}) {
	defer close(done)
	out := bufio.NewWriter(f)
	for e := range queue {
		if r.Full() {
			r.count(func(s *Stats) { s.Beyond++ })
			continue
		}
		err := r.append(out, e)
		if err == nil && len(queue) == 0 {
			err = out.Flush() // idle: let readers see it
		}
		if errors.Is(err, errFull) {
			r.count(func(s *Stats) { s.Beyond++ })
			continue
		}
		if err != nil {
			r.fail(err)
			out.Reset(f) // a writer that failed once refuses everything after
			continue
		}
		r.count(func(s *Stats) { s.Written++ })
	}
	if err := errors.Join(out.Flush(), f.Close()); err != nil {
		r.fail(err)
	}
}

func (r *Recorder) append(w io.Writer, e Exchange) error {
	line, err := json.Marshal(r.redactor.Redact(e))
	if err != nil {
		return err
	}
	if r.Stats().Bytes+int64(len(line))+1 > r.o.Bytes {
		r.count(func(s *Stats) { s.full = true })
		return errFull
	}
	n, err := w.Write(append(line, '\n'))
	r.count(func(s *Stats) { s.Bytes += int64(n) })
	return err
}

// errFull says that an exchange has no room on the tape any more.
var errFull = errors.New("the tape is full")

// Full reports whether the tape is as long as it may become.
func (r *Recorder) Full() bool {
	s := r.Stats()
	return s.full || r.o.Count > 0 && s.Written >= r.o.Count
}

// slice is for how long a client is drawn, or not.
const slice = 10 * time.Second

// drawn reports whether an exchange belongs to the sample.
func (r *Recorder) drawn(e Exchange) bool {
	if r.o.Sample <= 0 || r.o.Sample >= 1 {
		return true
	}
	who := credentials(e)
	if who == "" {
		who = e.Request.Path + e.At.String() // nobody's in particular: each for itself
	}
	sum := r.redactor.sum(who + "\n" + strconv.FormatInt(e.At.UnixNano()/int64(slice), 10))
	return float64(binary.BigEndian.Uint64(sum)) < r.o.Sample*math.MaxUint64
}

func (r *Recorder) fail(err error) {
	r.counts.Lock()
	defer r.counts.Unlock()
	r.stats.Failed++
	if r.failed == nil {
		r.failed = fmt.Errorf("record %s: %w", r.path, err)
	}
}
