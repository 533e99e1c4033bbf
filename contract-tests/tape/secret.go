package tape

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"math/big"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// secretParts are what a field's name is searched for, in lower case and
// without separators; secretNames are compared as a whole, being too short to
// search for.
var (
	secretParts = []string{"password", "passwd", "passphrase", "token", "secret", "apikey", "privatekey",
		"authorization", "credential", "cardnumber", "creditcard", "iban", "email", "sessionid", "csrf", "xsrf"}
	secretNames = []string{"pw", "pwd", "pass", "card", "pan", "cvv", "cvc", "pin", "mail", "session", "jwt", "ssn"}
)

// secretHeaders hold a secret as a whole. Cookies are treated apart.
var secretHeaders = []string{"Authorization", "Proxy-Authorization", "X-Api-Key", "X-Auth-Token"}

var separators = strings.NewReplacer("_", "", "-", "", ".", "", " ", "", "[", "", "]", "")

// secretName reports whether a field of this name holds a secret.
func (r *Redactor) secretName(name string) bool {
	name = separators.Replace(strings.ToLower(name))
	if slices.Contains(secretNames, name) || slices.Contains(r.extra, name) {
		return true
	}
	return slices.ContainsFunc(secretParts, func(part string) bool { return strings.Contains(name, part) })
}

var (
	mail    = regexp.MustCompile(`[\p{L}\p{N}._%+-]+@[\p{L}\p{N}-]+(?:\.[\p{L}\p{N}-]+)+`)
	bearer  = regexp.MustCompile(`(?i)\b(bearer\s+)([A-Za-z0-9._~+/-]{6,}=*)`)
	jwt     = regexp.MustCompile(`eyJ[A-Za-z0-9_-]{5,}\.[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]*)?`)
	digits  = regexp.MustCompile(`\.?\d(?:[ -]?\d){12,}`)
	account = regexp.MustCompile(`\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]){11,30}\b`)
	private = regexp.MustCompile(`(?s)-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)`)
	// Keys that their issuers made to be recognised.
	issued = regexp.MustCompile(`\b(?:(?:sk|rk|pk)_(?:live|test)_[A-Za-z0-9]{8,}|gh[pousr]_[A-Za-z0-9]{20,}|xox[abprs]-[A-Za-z0-9-]{10,}|AKIA[0-9A-Z]{16})\b`)
	coded  = regexp.MustCompile(`[A-Za-z0-9+/_-]{16,}={0,2}`)
	ours   = regexp.MustCompile(`^redacted-[0-9a-f]{12}(?:@example\.invalid)?$`)
)

// values replaces what looks like a secret anywhere in a text, and tells
// whether it did.
func (r *Redactor) values(text string) (string, bool) {
	before := text
	text = mail.ReplaceAllStringFunc(text, r.mail)
	text = jwt.ReplaceAllStringFunc(text, r.pseudonym)
	text = replaceGroups(bearer, text, func(g []string) string { return g[1] + r.pseudonym(g[2]) })
	text = digits.ReplaceAllStringFunc(text, r.cards)
	text = account.ReplaceAllStringFunc(text, r.account)
	text = private.ReplaceAllStringFunc(text, r.pseudonym)
	text = issued.ReplaceAllStringFunc(text, r.pseudonym)
	text = coded.ReplaceAllStringFunc(text, r.unveiled)
	return text, text != before
}

// unveiled replaces base64 that holds a secret. What decodes to anything but
// text is left.
func (r *Redactor) unveiled(found string) string {
	trimmed := strings.TrimRight(found, "=")
	for _, alphabet := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		plain, err := alphabet.DecodeString(trimmed)
		if err != nil || !utf8.Valid(plain) || bytes.ContainsFunc(plain, func(c rune) bool { return unicode.IsControl(c) && !unicode.IsSpace(c) }) {
			continue
		}
		if r.Text(string(plain)) != string(plain) {
			return r.pseudonym(found)
		}
	}
	return found
}

// longestCard is 19 digits with a separator between any two.
const longestCard = 37

// cards replaces the card numbers in a run of digits. A card may stand among
// other groups of digits, so every stretch of whole groups is tried.
func (r *Redactor) cards(run string) string {
	if run[0] == '.' {
		return run // the fraction of a number
	}
	var clean strings.Builder
	for from := 0; from < len(run); {
		if n := cardAt(run, from); n > 0 {
			clean.WriteString(r.pseudonym(run[from : from+n]))
			from += n
			continue
		}
		clean.WriteByte(run[from])
		from++
	}
	return clean.String()
}

// cardAt returns the length of the card number that begins at from, 0 if none
// does. It must be a stretch of whole groups.
func cardAt(run string, from int) int {
	if from > 0 && isDigit(run[from-1]) {
		return 0
	}
	for to := min(len(run), from+longestCard); to-from >= 13; to-- {
		if (to == len(run) || !isDigit(run[to])) && isCard(run[from:to]) {
			return to - from
		}
	}
	return 0
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// account replaces an IBAN; words in capitals may follow it.
func (r *Redactor) account(found string) string {
	for to := len(found); to > 0; to = strings.LastIndexByte(found[:to], ' ') {
		if isAccount(found[:to]) {
			return r.pseudonym(found[:to]) + found[to:]
		}
	}
	return found
}

// pseudonym replaces a secret. Equal secrets get equal pseudonyms, so that
// what belonged together still does; without the key it cannot be undone.
func (r *Redactor) pseudonym(secret string) string {
	if secret == "" || ours.MatchString(secret) {
		return secret
	}
	return "redacted-" + hex.EncodeToString(r.sum(secret)[:6])
}

func (r *Redactor) mail(address string) string {
	if address == "" || ours.MatchString(address) {
		return address
	}
	return r.pseudonym(address) + "@example.invalid"
}

// number replaces a secret that is a JSON number by another number of as many
// digits, so that the field keeps its type.
func (r *Redactor) number(secret string) string {
	digits := new(big.Int).SetBytes(r.sum(secret)).String()
	for len(digits) < len(secret) {
		digits += digits
	}
	digits = digits[:len(secret)]
	if digits[0] == '0' {
		digits = "1" + digits[1:]
	}
	return digits
}

func (r *Redactor) sum(secret string) []byte {
	mac := hmac.New(sha256.New, r.key)
	mac.Write([]byte(secret))
	return mac.Sum(nil)
}

var grouping = strings.NewReplacer(" ", "", "-", "")

// isCard checks length, first digit and check digit. Of the first digits,
// timestamps in milliseconds and most ids have others.
func isCard(text string) bool {
	text = grouping.Replace(text)
	if len(text) < 13 || len(text) > 19 || text[0] < '2' || text[0] > '6' || len(text) == 13 && text[0] != '4' {
		return false
	}
	sum := 0
	for i := range len(text) {
		c := text[len(text)-1-i]
		if !isDigit(c) {
			return false
		}
		d := int(c - '0')
		if i%2 == 1 {
			if d *= 2; d > 9 {
				d -= 9
			}
		}
		sum += d
	}
	return sum%10 == 0
}

// isAccount checks an IBAN's remainder.
func isAccount(text string) bool {
	text = strings.ReplaceAll(text, " ", "")
	if len(text) < 15 || len(text) > 34 {
		return false
	}
	remainder := 0
	for _, c := range text[4:] + text[:4] {
		if c >= 'A' {
			remainder = (remainder*100 + int(c-'A') + 10) % 97
		} else {
			remainder = (remainder*10 + int(c-'0')) % 97
		}
	}
	return remainder == 1
}
