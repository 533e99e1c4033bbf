// Package openapi reads, checks, compares and infers OpenAPI descriptions,
// versions 3.0 and 3.1.
//
// [Load] reads a description. [Description.Check] holds exchanges against it,
// [Description.Contract] makes a contract of its examples, [Breaking] says what
// clients lose between two descriptions, and [Infer] describes the traffic of a
// contract.
package openapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"

	"stranglerfig/contract-tests/contract"
)

// MaxFile bounds a description's file, and each file it refers to, in bytes.
const MaxFile = 16 << 20

// Description is a valid description.
type Description struct {
	path   string
	doc    *openapi3.T
	router routers.Router
}

// Load reads a description, in JSON or YAML. It follows references to files in
// the description's own folder and below, and to nothing else: neither the
// network nor the rest of the disk.
func Load(path string) (*Description, error) {
	data, err := read(path)
	if err != nil {
		return nil, fmt.Errorf("load description: %w", err)
	}
	if data, err = contract.Text(data); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if err := recognise(data); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	absolute, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("load description: %w", err)
	}
	root := filepath.Dir(absolute)
	loader := openapi3.NewLoader()
	loader.ReadFromURIFunc = func(_ *openapi3.Loader, location *url.URL) ([]byte, error) { return within(root, location) }
	doc, err := loader.LoadFromDataWithPath(data, &url.URL{Path: filepath.ToSlash(absolute)})
	if err != nil && strings.Contains(err.Error(), "failed to unmarshal") {
		return nil, fmt.Errorf("%s: %w", path, inYAML(err))
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	// An example that breaks its schema is told where it matters: by who imports
	// it.
	if err := doc.Validate(context.Background(), openapi3.DisableExamplesValidation()); err != nil {
		return nil, fmt.Errorf("%s: %w", path, accepts(err))
	}
	d := &Description{path: path, doc: doc}
	return d, d.route()
}

func read(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, MaxFile+1))
	if err == nil && len(data) > MaxFile {
		err = fmt.Errorf("%s is larger than %d MiB", path, MaxFile>>20)
	}
	return data, err
}

// within reads a file that a reference names, if it is below a folder.
func within(root string, location *url.URL) ([]byte, error) {
	if location.Scheme != "" && location.Scheme != "file" || location.Host != "" {
		return nil, fmt.Errorf("the reference to %s is not followed (accepted: files in the description's folder)", location)
	}
	path := filepath.FromSlash(location.Path)
	if !filepath.IsAbs(path) {
		path = filepath.Join(root, path)
	}
	below, err := filepath.Rel(root, path)
	if err != nil || !filepath.IsLocal(below) {
		return nil, fmt.Errorf("the reference to %s is not followed (accepted: files in the description's folder)", location)
	}
	return read(path)
}

// route prepares to find operations. What servers the description names does
// not matter, the targets are others; the paths at which they serve do.
func (d *Description) route() error {
	var servers openapi3.Servers
	for _, s := range d.doc.Servers {
		address := s.URL
		for name, v := range s.Variables {
			address = strings.ReplaceAll(address, "{"+name+"}", v.Default)
		}
		u, err := url.Parse(address)
		if err != nil {
			return fmt.Errorf("%s: server %q: %w", d.path, s.URL, err)
		}
		servers = append(servers, &openapi3.Server{URL: "/" + strings.Trim(u.Path, "/")})
	}
	d.doc.Servers = servers
	for _, item := range d.doc.Paths.Map() {
		item.Servers = nil
	}
	router, err := gorillamux.NewRouter(d.doc)
	if err != nil {
		return fmt.Errorf("%s: %w", d.path, err)
	}
	d.router = router
	return nil
}

// Title is what the description calls the application.
func (d *Description) Title() string {
	if d.doc.Info == nil {
		return ""
	}
	return d.doc.Info.Title
}

// base is the path below which the first server serves, without a slash at its
// end.
func (d *Description) base() string {
	if len(d.doc.Servers) == 0 {
		return ""
	}
	return strings.TrimSuffix(d.doc.Servers[0].URL, "/")
}

// errUndescribed says that a description does not know a request.
var errUndescribed = errors.New("no operation of the description")
