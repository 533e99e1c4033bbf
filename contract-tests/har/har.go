// Package har exchanges traffic with browsers and proxies: HTTP Archive (HAR)
// 1.2, which they save and read.
//
// [Read] makes exchanges of a file. They are not redacted; pass them through
// tape.Redactor before anything else. [Write] makes a file of a contract.
// Where a file is not what it says, every place is told, as in
// "log.entries[3]: response.content: …".
package har

import (
	"time"
)

// The types are the JSON, as far as it is read or written.
type (
	archive struct {
		Log log `json:"log"`
	}
	log struct {
		Version string  `json:"version"`
		Creator creator `json:"creator"`
		Entries []entry `json:"entries"`
	}
	creator struct {
		Name    string `json:"name"`
		Version string `json:"version"`
	}
	entry struct {
		Started  time.Time      `json:"startedDateTime"`
		Time     float64        `json:"time"`
		Request  request        `json:"request"`
		Response response       `json:"response"`
		Cache    map[string]any `json:"cache"`
		Timings  timings        `json:"timings"`
		Comment  string         `json:"comment,omitempty"`
	}
	request struct {
		Method      string  `json:"method"`
		URL         string  `json:"url"`
		Version     string  `json:"httpVersion"`
		Cookies     []pair  `json:"cookies"`
		Header      []pair  `json:"headers"`
		Query       []pair  `json:"queryString"`
		Body        *posted `json:"postData,omitempty"`
		HeadersSize int     `json:"headersSize"`
		BodySize    int     `json:"bodySize"`
	}
	posted struct {
		Media    string  `json:"mimeType"`
		Text     *string `json:"text,omitempty"`
		Params   []pair  `json:"params,omitempty"`
		Encoding string  `json:"encoding,omitempty"` // base64; of some writers, and of ours
	}
	response struct {
		Status      int     `json:"status"`
		Reason      string  `json:"statusText"`
		Version     string  `json:"httpVersion"`
		Cookies     []pair  `json:"cookies"`
		Header      []pair  `json:"headers"`
		Body        content `json:"content"`
		Redirect    string  `json:"redirectURL"`
		HeadersSize int     `json:"headersSize"`
		BodySize    int     `json:"bodySize"`
	}
	content struct {
		Size     int     `json:"size"`
		Media    string  `json:"mimeType"`
		Text     *string `json:"text,omitempty"`
		Encoding string  `json:"encoding,omitempty"`
	}
	pair struct {
		Name  string `json:"name"`
		Value string `json:"value"`
	}
	timings struct {
		Send    float64 `json:"send"`
		Wait    float64 `json:"wait"`
		Receive float64 `json:"receive"`
	}
)
