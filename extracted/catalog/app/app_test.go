package app_test

import (
	"bytes"
	"image"
	"image/png"
	"io"
	"log/slog"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"gorm.io/gorm"

	"stranglerfig/extracted/catalog/app"
	"stranglerfig/extracted/catalog/storage"
)

const token = "test-token"

// service is a catalog service with two products behind a real socket.
type service struct {
	t   *testing.T
	url string
	db  *gorm.DB
}

func open(t *testing.T) *service {
	t.Helper()
	database := "sqlite:" + filepath.Join(t.TempDir(), "catalog.db")
	running, err := app.Open(t.Context(), app.Options{Database: database, Token: token,
		Log: slog.New(slog.NewJSONHandler(io.Discard, nil))})
	if err != nil {
		t.Fatal(err)
	}
	db, err := storage.Open(t.Context(), database)
	if err != nil {
		t.Fatal(err)
	}
	for _, statement := range []string{
		"INSERT INTO categories (id, name) VALUES (1, 'Books'), (2, 'Tools')",
		`INSERT INTO products (id, category_id, sku, name, price_cents, stock, description, updated_at) VALUES
			(1, 1, 'SKU-0001', 'Blue Atlas', 999, 3, 'maps', '2026-03-01T09:00:00Z'),
			(2, 2, 'SKU-0002', '100% Hammer', 1200, 0, '', '2026-07-01T09:00:00Z')`,
	} {
		if err := db.Exec(statement).Error; err != nil {
			t.Fatal(err)
		}
	}
	server := httptest.NewServer(running.Handler())
	t.Cleanup(func() {
		server.Close()
		if err := running.Close(); err != nil {
			t.Error(err)
		}
		if err := storage.Close(db); err != nil {
			t.Error(err)
		}
	})
	return &service{t, server.URL, db}
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   string
}

// ask sends a request; headers come in pairs.
func (s *service) ask(method, path, body string, headers ...string) answer {
	s.t.Helper()
	request, err := http.NewRequestWithContext(s.t.Context(), method, s.url+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	response, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		s.t.Fatal(err)
	}
	defer response.Body.Close()
	got, err := io.ReadAll(response.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return answer{response.StatusCode, response.Header, string(got)}
}

// is checks the status and, unless empty, the body.
func (a answer) is(t *testing.T, status int, body string) {
	t.Helper()
	if a.status != status || body != "" && a.body != body {
		t.Errorf("answered %d %s\nwant %d %s", a.status, a.body, status, body)
	}
}

const (
	atlas  = `{"id":1,"sku":"SKU-0001","name":"Blue Atlas","cat":"Books","price":9.99,"stock":3,"descr":"maps","updated":"2026-03-01 10:00:00"}`
	hammer = `{"id":2,"sku":"SKU-0002","name":"100% Hammer","cat":"Tools","price":12,"stock":0,"descr":"","updated":"2026-07-01 11:00:00"}`
)

func TestProductsAreShownAsTheShopShowedThem(t *testing.T) {
	s := open(t)
	s.ask("GET", "/products/1", "").is(t, 200, atlas)
	s.ask("GET", "/products", "").is(t, 200, `{"products":[`+atlas+`,`+hammer+`],"page":1,"per_page":20,"total":2}`)
	s.ask("GET", "/products.csv", "").is(t, 200, "id,sku,name,cat,price,stock\n"+
		"1,SKU-0001,Blue Atlas,Books,9.99,3\n2,SKU-0002,100% Hammer,Tools,12.00,0\n")
	s.ask("GET", "/products/3", "").is(t, 404, `{"error":"product 3 not found"}`)
	if page := s.ask("GET", "/products/1/page", ""); !strings.Contains(page.body, "<h1>Blue Atlas</h1>") {
		t.Errorf("page: %s", page.body)
	}
}

func TestProductsAreFoundByTextAndCategory(t *testing.T) {
	s := open(t)
	only := func(product string) string {
		return `{"products":[` + product + `],"page":1,"per_page":20,"total":1}`
	}
	s.ask("GET", "/products?q=ATLAS", "").is(t, 200, only(atlas))
	s.ask("GET", "/products?q=%25", "").is(t, 200, only(hammer))
	s.ask("GET", "/products?cat=2", "").is(t, 200, only(hammer))
	s.ask("GET", "/products?cat=0", "").is(t, 422, "")
}

func TestWhatIsKnownIsNotSentAgain(t *testing.T) {
	s := open(t)
	for _, path := range []string{"/products", "/products/1", "/products/1/page", "/products.csv"} {
		tag := s.ask("GET", path, "").header.Get("ETag")
		s.ask("GET", path, "", "If-None-Match", tag).is(t, 304, "")
	}
}

func TestOnlyTheTokenChangesProducts(t *testing.T) {
	s := open(t)
	body := `{"name":"Red Atlas","price":"10.50","stock":4}`
	s.ask("PUT", "/products/1", body).is(t, 401, `{"error":"login required"}`)
	s.ask("PUT", "/products/1", body, "Authorization", "Bearer wrong").is(t, 401, "")
	s.ask("GET", "/products/1", "").is(t, 200, atlas)
	s.ask("PUT", "/products/1", body, "Authorization", "Bearer "+token).is(t, 200, "")
	if now := s.ask("GET", "/products/1", ""); !strings.Contains(now.body, `"name":"Red Atlas","cat":"Books","price":10.5,"stock":4`) {
		t.Errorf("now %s", now.body)
	}
}

func TestWhatIsWrongWithAProductIsSaidAtOnce(t *testing.T) {
	s := open(t)
	s.ask("PUT", "/products/1", `{"name":" ","price":0,"stock":-1}`, "Authorization", "Bearer "+token).is(t, 422,
		`{"error":"validation failed","fields":{"name":"is required","price":"must be greater than 0",`+
			`"stock":"must be an integer from 0 to 2147483647"}}`)
	s.ask("PUT", "/products/1", `{`, "Authorization", "Bearer "+token).is(t, 400, `{"error":"body is not valid JSON"}`)
	s.ask("PUT", "/products/9", `{"name":"x","price":1,"stock":1}`, "Authorization", "Bearer "+token).is(t, 404, "")
}

func TestAPictureComesBackAsItWasSent(t *testing.T) {
	s := open(t)
	var picture bytes.Buffer
	if err := png.Encode(&picture, image.NewGray(image.Rect(0, 0, 2, 2))); err != nil {
		t.Fatal(err)
	}
	s.ask("GET", "/products/1/image", "").is(t, 404, "")
	for range 2 {
		s.upload(picture.String()).is(t, 201, "")
	}
	got := s.ask("GET", "/products/1/image", "")
	if got.is(t, 200, picture.String()); got.header.Get("Content-Type") != "image/png" {
		t.Errorf("Content-Type %s", got.header.Get("Content-Type"))
	}
	s.upload("just text").is(t, 422,
		`{"error":"validation failed","fields":{"image":"must be a PNG, JPEG or GIF picture"}}`)
	s.upload(picture.String()+strings.Repeat("x", 1<<20)).is(t, 422,
		`{"error":"validation failed","fields":{"image":"must be at most 1 MiB"}}`)
}

// upload sends data as the picture of product 1.
func (s *service) upload(data string) answer {
	s.t.Helper()
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	part, err := form.CreateFormFile("image", "picture")
	if err != nil {
		s.t.Fatal(err)
	}
	if _, err := io.WriteString(part, data); err != nil {
		s.t.Fatal(err)
	}
	if err := form.Close(); err != nil {
		s.t.Fatal(err)
	}
	return s.ask("POST", "/products/1/image", body.String(),
		"Content-Type", form.FormDataContentType(), "Authorization", "Bearer "+token)
}
