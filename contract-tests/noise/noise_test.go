package noise_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"stranglerfig/contract-tests/compare"
	"stranglerfig/contract-tests/noise"
)

const route = "GET /invoices/{id}"

// answer is one of an application's.
func answer(media, body string) compare.Message {
	return compare.Message{Status: 200, Header: map[string][]string{"Content-Type": {media}}, Body: []byte(body)}
}

func document(body string, values ...any) compare.Message {
	return answer("application/json", fmt.Sprintf(body, values...))
}

// learn asks an application n times at once and n times with a lag of 50 ms.
// The application is told how often it was asked and when.
func learn(n int, app func(ask int, at time.Time) compare.Message) noise.Noise {
	var l noise.Learner
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	ask := 0
	next := func() compare.Message { ask++; return app(ask, at) }
	for range n {
		a, b := next(), next()
		l.Note(noise.Pair{Route: route, A: a, B: b})
		at = at.Add(50 * time.Millisecond)
		l.Note(noise.Pair{Route: route, A: a, B: next(), Lag: 50 * time.Millisecond})
		at = at.Add(137 * time.Millisecond)
	}
	return l.Learn()
}

// of returns the one place that was learned, as "path matcher".
func of(t *testing.T, n noise.Noise) string {
	t.Helper()
	if len(n.Places) != 1 || len(n.Unexplained) != 0 {
		t.Fatalf("%+v", n)
	}
	raw, err := json.Marshal(n.Places[0].Matcher)
	if err != nil {
		t.Fatal(err)
	}
	return n.Places[0].Path + " " + string(raw)
}

func TestAnApplicationThatRepeatsItselfHasNoNoise(t *testing.T) {
	n := learn(50, func(int, time.Time) compare.Message { return document(`{"id": 1, "at": "2026-01-01T00:00:00Z"}`) })
	if len(n.Places)+len(n.Unexplained) != 0 {
		t.Errorf("%+v", n)
	}
}

func TestTheNarrowestMatcherIsLearned(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	uuid := func() string {
		return fmt.Sprintf("%08x-%04x-4%03x-8%03x-%012x", random.Uint32(), random.Uint32()&0xffff, random.Uint32()&0xfff, random.Uint32()&0xfff, random.Uint64()&0xffffffffffff)
	}
	for name, c := range map[string]struct {
		app  func(ask int, at time.Time) compare.Message
		want string
	}{
		"a few words": {
			func(ask int, _ time.Time) compare.Message { return document(`{"node": "web-%c"}`, "abc"[ask%3]) },
			`$.body.node {"match":"regex","regex":"web-a|web-b|web-c"}`,
		},
		"the time of the answer": {
			func(_ int, at time.Time) compare.Message {
				return document(`{"at": %q}`, at.Add(time.Duration(random.IntN(3000))*time.Microsecond).Format(time.RFC3339Nano))
			},
			`$.body.at {"match":"moment","tolerance":2}`,
		},
		"the time of the answer, to the second, in German": {
			func(_ int, at time.Time) compare.Message {
				return document(`{"at": %q}`, at.Format("02.01.2006 15:04:05"))
			},
			`$.body.at {"match":"moment","tolerance":3}`,
		},
		"identifiers": {
			func(int, time.Time) compare.Message { return document(`{"trace": [{"id": %q}]}`, uuid()) },
			`$.body.trace[*].id {"match":"oneOfFormats","formats":["uuid"]}`,
		},
		"a counter": {
			func(ask int, _ time.Time) compare.Message { return document(`{"seen": %d}`, ask) },
			`$.body.seen {"match":"integer"}`,
		},
		"a measurement": {
			func(int, time.Time) compare.Message { return document(`{"load": %.3f}`, random.Float64()) },
			`$.body.load {"match":"number"}`,
		},
		"a flag": {
			func(ask int, _ time.Time) compare.Message { return document(`{"warm": %v}`, ask%2 == 0) },
			`$.body.warm {"match":"boolean"}`,
		},
		"a text around a number": {
			func(ask int, _ time.Time) compare.Message { return document(`{"text": "took %d ms."}`, ask) },
			`$.body.text {"match":"regex","regex":"took [0-9]+ ms\\."}`,
		},
		"any text": {
			func(int, time.Time) compare.Message {
				return document(`{"joke": %q}`, strings.Repeat("ha ", 1+random.IntN(99)))
			},
			`$.body.joke {"match":"type"}`,
		},
		"null, or something": {
			func(ask int, _ time.Time) compare.Message {
				return document(`{"hint": %s}`, map[bool]string{true: "null", false: `"x"`}[ask%2 == 0])
			},
			`$.body.hint {"match":"nullable"}`,
		},
		"an order that nobody promised": {
			func(ask int, _ time.Time) compare.Message {
				return document(`{"tags": [%s]}`, []string{`"a","b"`, `"b","a"`}[ask%2])
			},
			`$.body.tags {"match":"unordered"}`,
		},
		"a member named by an identifier": {
			func(ask int, _ time.Time) compare.Message { return document(`{"by": {"1042": {"n": %d}}}`, ask) },
			`$.body.by.*.n {"match":"integer"}`,
		},
		"a list of no fixed length": {
			func(ask int, _ time.Time) compare.Message {
				return answer("application/json", map[bool]string{true: `{"l": [{"a": 1}, {"a": 2}]}`, false: `{"l": [{"a": 2}]}`}[ask%2 == 0])
			},
			`$.body.l {"match":"type","min":1}`,
		},
		"a header": {
			func(ask int, _ time.Time) compare.Message {
				m := document(`{}`)
				m.Header["Location"] = []string{fmt.Sprintf("/sessions/%d", ask)}
				return m
			},
			`$.header.Location {"match":"regex","regex":"/sessions/[0-9]+"}`,
		},
		"a page's token": {
			func(int, time.Time) compare.Message {
				return answer("text/html", `<form><input name="csrf" value="`+uuid()+`"></form>`)
			},
			`$.body.html.body.form.input['@value'] {"match":"oneOfFormats","formats":["uuid"]}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			if got := of(t, learn(50, c.app)); got != c.want {
				t.Errorf("learned %s\nwant    %s", got, c.want)
			}
		})
	}
}

func TestWhatWasLearnedExcusesTheApplicationItselfAndNothingWider(t *testing.T) {
	app := func(ask int, at time.Time) compare.Message {
		return document(`{"id": 7, "st": %d, "at": %q, "n": %d}`, 1, at.Format(time.RFC3339Nano), ask)
	}
	rules, err := learn(50, app).Rules()
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)
	differ := func(a, b compare.Message) int {
		return len(compare.Responses(a, b, rules.For(route, 200), compare.Options{Mode: compare.Exact}))
	}
	if n := differ(app(1, at), app(9000, at.Add(40*time.Millisecond))); n != 0 {
		t.Errorf("the application differs from itself in %d places", n)
	}
	for what, other := range map[string]compare.Message{
		"another state":            document(`{"id": 7, "st": 2, "at": "2027-01-01T00:00:00Z", "n": 5}`),
		"a moment of another zone": document(`{"id": 7, "st": 1, "at": "2027-01-01T01:00:00Z", "n": 5}`),
		"a moment in another form": document(`{"id": 7, "st": 1, "at": "2027-01-01 00:00:00", "n": 5}`),
		"no number":                document(`{"id": 7, "st": 1, "at": "2027-01-01T00:00:00Z", "n": "5"}`),
		"no such field":            document(`{"id": 7, "st": 1, "at": "2027-01-01T00:00:00Z"}`),
	} {
		if n := differ(app(1, at), other); n != 1 {
			t.Errorf("%s: %d differences", what, n)
		}
	}
	if n := len(compare.Responses(app(1, at), app(2, at), rules.For("GET /other", 200), compare.Options{Mode: compare.Exact})); n != 1 {
		t.Errorf("what was learned of one route excuses another: %d differences", n)
	}
}

func TestDataThatWasChangedBetweenTwoQuestionsIsNoNoise(t *testing.T) {
	n := learn(100, func(ask int, _ time.Time) compare.Message { // every third ask is the late one of its pair
		return document(`{"st": %d, "updated": %q}`, ask/30, time.Date(2026, 1, 1+ask/30, 0, 0, 0, 0, time.UTC).Format(time.RFC3339))
	})
	if len(n.Places) != 0 || len(n.Unexplained) != 2 || !strings.Contains(n.Unexplained[0], "taken for data that was changed in between") {
		t.Errorf("%+v", n)
	}
}

// TestAnElementThatWasPutBeforeOthersTeachesNothing has a list of the newest
// three, of which one is made now and then between two questions: every place of
// it differs then, moments that are seconds apart as well.
func TestAnElementThatWasPutBeforeOthersTeachesNothing(t *testing.T) {
	made := func(n int) string {
		return fmt.Sprintf(`{"id": %d, "no": "R-%d", "created": %q}`, n, n, time.Date(2026, 3, 1, 12, 0, n, 0, time.UTC).Format(time.RFC3339))
	}
	n := learn(100, func(ask int, _ time.Time) compare.Message {
		round, late := (ask-1)/3, (ask-1)%3 == 2
		newest := 10 + round/10
		if late && round%10 == 9 {
			newest++
		}
		return document(`{"seen": %d, "list": [%s,%s,%s]}`, ask, made(newest), made(newest-1), made(newest-2))
	})
	if len(n.Places) != 1 || n.Places[0].Path != "$.body.seen" || len(n.Unexplained) != 3 {
		t.Errorf("%+v", n)
	}
}

func TestWhatNoMatcherCoversIsTold(t *testing.T) {
	for want, app := range map[string]func(ask int, at time.Time) compare.Message{
		"$.body.extra: is there in some answers and not in others": func(ask int, _ time.Time) compare.Message {
			return answer("application/json", map[bool]string{true: `{"extra": 1}`, false: `{}`}[ask%2 == 0])
		},
		"$.body.v: has several types: number, string": func(ask int, _ time.Time) compare.Message {
			return answer("application/json", map[bool]string{true: `{"v": 1}`, false: `{"v": "1"}`}[ask%2 == 0])
		},
		"$.status: 200 and 503": func(ask int, _ time.Time) compare.Message {
			m := document(`{}`)
			m.Status = []int{200, 503}[ask%2]
			return m
		},
		"a part of a text, for which there is no rule": func(ask int, _ time.Time) compare.Message {
			return answer("text/plain", fmt.Sprintf("total\n%d\n", ask))
		},
		"still differs under what was learned": func(ask int, _ time.Time) compare.Message {
			m := document(`{}`)
			m.Header["Set-Cookie"] = []string{fmt.Sprintf("s%d=1", ask)}
			return m
		},
	} {
		n := learn(30, app)
		if len(n.Unexplained) == 0 || !strings.Contains(strings.Join(n.Unexplained, "\n"), want) {
			t.Errorf("want %q, got %+v", want, n)
		}
	}
}

func TestWhatIsRememberedIsBounded(t *testing.T) {
	var l noise.Learner
	for i := range 300 {
		var fields []string
		for j := range 100 {
			fields = append(fields, fmt.Sprintf(`"f%c%c%c": %d`, 'a'+i%26, 'a'+i/26, 'a'+j%26, j))
		}
		m := answer("application/json", "{"+strings.Join(fields, ",")+"}")
		m.Status = 200 + i
		l.Note(noise.Pair{Route: route, A: m, B: m})
	}
	if n := l.Learn(); len(n.Unexplained) > 1 {
		t.Errorf("%+v", n.Unexplained)
	}
	if a, b := l.Pairs(); a != 300 || b != 0 {
		t.Errorf("%d and %d pairs", a, b)
	}
}

func TestWhatWasLearnedCanBeStored(t *testing.T) {
	n := learn(50, func(ask int, at time.Time) compare.Message {
		m := document(`{"at": %q, "n": %d, "tags": [{"x y": %d}]}`, at.Format(time.RFC3339Nano), ask, ask)
		m.Header["ETag"] = []string{fmt.Sprint(ask)}
		return m
	})
	raw, err := json.Marshal(n)
	if err != nil {
		t.Fatal(err)
	}
	var again noise.Noise
	if err := json.Unmarshal(raw, &again); err != nil {
		t.Fatal(err)
	}
	if _, err := again.Rules(); err != nil || len(again.Places) != len(n.Places) || len(n.Places) < 3 {
		t.Errorf("%v: %s", err, raw)
	}
	if _, err := (noise.Noise{Places: []noise.Place{{Path: "$.elsewhere"}}}).Rules(); err == nil {
		t.Error("a path that is none is accepted")
	}
}
