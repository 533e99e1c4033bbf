package conformance

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
)

// TestOneOfTwoEndpointsFallsIll has a monolith of two addresses under load, of
// which one is killed, hangs or breaks its answers off. Nobody can stand in for
// it, so reads fail while that is found out, and no longer.
func TestOneOfTwoEndpointsFallsIll(t *testing.T) {
	for name, illness := range map[string]func(t testing.TB, w *ward, sick *ailing) int64{
		"it is killed": endpointKilled, "it hangs": endpointHung, "it breaks its answers off": endpointResetting,
	} {
		check(t, name, func(t testing.TB) {
			w := &ward{t: t, service: newAiling(t), acked: map[string]bool{}, sent: map[string]bool{}}
			sick := newAiling(t)
			w.front = startProcess(t, fmt.Sprintf(
				"monolith: {url: [http://%s, http://%s], health: /read, health_interval: 50ms, timeouts: {answer: 1s}}\n", w.service.address, sick.address))
			w.begin()
			most := illness(t, w, sick)
			failed := w.failed.Load()
			w.reaches("reads by the one that is well", &w.fromService, 300)
			if now := w.failed.Load(); now > failed {
				t.Errorf("%d reads failed after it was found out: %q", now-failed, w.wrong)
			}
			w.happenedOnceAt(w.service, sick)
			w.readsFailed(most)
		})
	}
}

// isOut waits until the sick endpoint is not asked, and what it was asked
// before has ended. It does no more harm then.
func (w *ward) isOut(sick *ailing, state string) {
	w.t.Helper()
	at := `endpoint="http://` + sick.address + `"`
	eventually(w.t, "the endpoint is "+state, func() bool {
		text := w.front.metrics(w.t)
		return strings.Contains(text, `strangler_backend_endpoint{backend="the monolith",`+at+`,state="`+state+`"} 1`) &&
			strings.Contains(text, `strangler_backend_endpoint_under_way{backend="the monolith",`+at+`} 0`)
	})
}

// endpointKilled: what could not be sent, and a read that was broken off, is
// sent to the other one.
func endpointKilled(t testing.TB, w *ward, sick *ailing) int64 {
	sick.process.Kill()
	w.isOut(sick, "sick")
	return 0
}

// endpointHung: each reader may have met it once, or a few times, before its
// checks had failed three times, which takes two seconds each.
func endpointHung(t testing.TB, w *ward, sick *ailing) int64 {
	sick.signal(syscall.SIGSTOP)
	t.Cleanup(func() { sick.signal(syscall.SIGCONT) })
	w.isOut(sick, "sick")
	return 7 * readers // a second for each, and one that had begun
}

// endpointResetting: its checks see an answer that begins well, so it is left
// out for the requests that failed.
func endpointResetting(t testing.TB, w *ward, sick *ailing) int64 {
	sick.is("reset")
	w.isOut(sick, "ejected")
	return failures + readers
}
