package proxy

import (
	"errors"
	"fmt"
	"slices"
	"testing"
)

func TestInterimAnswersAreWrittenInOrderBeforeTheFinalOne(t *testing.T) {
	var written []string
	i := &interims{write: func(b []byte) error { written = append(written, string(b)); return nil }}
	want := []string{}
	for n := range mostInterims {
		want = append(want, fmt.Sprint(n))
		i.take([]byte(want[n]))
	}
	if err := i.end(); err != nil {
		t.Error(err)
	}
	if !slices.Equal(written, want) {
		t.Errorf("%q were written", written)
	}
	i.take([]byte("late"))
	if i.end(); len(written) != mostInterims {
		t.Errorf("beside the final answer %q was written", written)
	}
}

// TestAClientThatTakesNoInterimAnswersKeepsNobodyWaiting: they come on a
// goroutine that reads for others too.
func TestAClientThatTakesNoInterimAnswersKeepsNobodyWaiting(t *testing.T) {
	begun, taken := make(chan bool), make(chan error)
	written := 0
	i := &interims{write: func([]byte) error {
		if written++; written == 1 {
			close(begun)
		}
		return <-taken
	}}
	i.take([]byte("103"))
	<-begun
	for range 2 * mostInterims {
		i.take([]byte("103")) // returns, though nothing is taken
	}
	if len(i.waiting) != mostInterims {
		t.Errorf("%d wait", len(i.waiting))
	}
	gone := errors.New("the client has gone")
	taken <- gone
	if err := i.end(); err != gone || written != 1 {
		t.Errorf("%d were written to somebody who has gone, and it ends with %v", written, err)
	}
}

func TestADefectInAnInterimAnswerIsTold(t *testing.T) {
	told := make(chan any, 1)
	i := &interims{write: func([]byte) error { panic("a defect") }, defect: func(reason any) { told <- reason }}
	i.take([]byte("103"))
	err := i.end()
	if reason := <-told; reason != "a defect" || err == nil {
		t.Errorf("told of %v, and it ends with %v", reason, err)
	}
}
