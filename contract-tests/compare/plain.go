package compare

// Plain returns a message's body without its compression. It undoes gzip, up to
// 64 MiB; another coding is an error.
func Plain(m Message) ([]byte, error) { return part{header: m.Header, body: m.Body}.unpacked() }
