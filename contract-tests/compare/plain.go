package compare

// Plain returns a message's body without its compression. It undoes gzip, up to
// 64 MiB; another coding is left as it is.
func Plain(m Message) ([]byte, error) { return plain(m) }
