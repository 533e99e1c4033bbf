package products

import (
	"bytes"
	_ "embed"
	"encoding/csv"
	"errors"
	"html/template"
	"io"
	"math"
	"net/http"
	"strconv"

	"github.com/labstack/echo/v4"

	"stranglerfig/extracted/catalog/web"
)

const (
	maxName  = 200
	maxDescr = 5000
	// maxImage is the largest picture accepted, in bytes; maxUpload leaves
	// room for what multipart puts around it.
	maxImage  = 1 << 20
	maxUpload = maxImage + 64<<10
)

//go:embed product.html
var productHTML string

var productPage = template.Must(template.New("product").Parse(productHTML))

// Routes registers everything under /products; writing needs the token.
func (s *Service) Routes(e *echo.Echo, token string) {
	web.Read(e, "/products", s.list)
	web.Read(e, "/products.csv", s.export)
	web.Read(e, "/products/:id", s.show)
	web.Read(e, "/products/:id/page", s.page)
	web.Read(e, "/products/:id/image", s.image)
	e.PUT("/products/:id", s.update, web.TokenOnly(token))
	e.POST("/products/:id/image", s.upload, web.TokenOnly(token))
}

func (s *Service) list(c echo.Context) error {
	problems := web.Problems{}
	page := web.PageOf(c, problems)
	filter := Filter{
		Category: web.QueryInt(c, problems, "cat", 1, math.MaxInt32),
		Text:     c.QueryParam("q"),
	}
	if err := problems.Err(); err != nil {
		return err
	}
	products, total, err := s.List(c.Request().Context(), filter, page)
	if err != nil {
		return err
	}
	return web.Found(c, struct {
		Products []Product `json:"products"`
		Page     int       `json:"page"`
		PerPage  int       `json:"per_page"`
		Total    int64     `json:"total"`
	}{products, page.Number, page.Size, total})
}

func (s *Service) show(c echo.Context) error {
	product, err := s.product(c)
	if err != nil {
		return err
	}
	return web.Found(c, product)
}

func (s *Service) page(c echo.Context) error {
	product, err := s.product(c)
	if err != nil {
		return err
	}
	var html bytes.Buffer
	if err := productPage.Execute(&html, product); err != nil {
		return err
	}
	return web.Content(c, web.TypeHTML, html.Bytes())
}

// product is the one named in the path, or a 404.
func (s *Service) product(c echo.Context) (*Product, error) {
	id, err := web.PathID(c, "product")
	if err != nil {
		return nil, err
	}
	product, err := s.Find(c.Request().Context(), id)
	if err == nil && product == nil {
		err = web.NotFound("product", c.Param("id"))
	}
	return product, err
}

func (s *Service) export(c echo.Context) error {
	products, err := s.All(c.Request().Context())
	if err != nil {
		return err
	}
	rows := [][]string{{"id", "sku", "name", "cat", "price", "stock"}}
	for _, p := range products {
		rows = append(rows, []string{strconv.FormatInt(p.ID, 10), p.SKU, p.Name, p.Cat,
			p.Price.String(), strconv.Itoa(p.Stock)})
	}
	var table bytes.Buffer
	if err := csv.NewWriter(&table).WriteAll(rows); err != nil {
		return err
	}
	c.Response().Header().Set(echo.HeaderContentDisposition, `attachment; filename="products.csv"`)
	return web.Content(c, web.TypeCSV, table.Bytes())
}

func (s *Service) image(c echo.Context) error {
	id, err := web.PathID(c, "product")
	if err != nil {
		return err
	}
	image, err := s.Image(c.Request().Context(), id)
	if err != nil {
		return err
	}
	if image == nil {
		return web.NotFound("image of product", c.Param("id"))
	}
	return web.Content(c, image.Mime, image.Data)
}

func (s *Service) update(c echo.Context) error {
	id, err := web.PathID(c, "product")
	if err != nil {
		return err
	}
	body, err := web.Body(c)
	if err != nil {
		return err
	}
	form, err := web.ParseForm(body)
	if err != nil {
		return err
	}
	change := Change{
		Name:  form.Text("name", maxName),
		Price: form.Amount("price"),
		Stock: form.Int("stock", 0, math.MaxInt32),
		Descr: form.OptionalText("descr", maxDescr),
	}
	if err := form.Err(); err != nil {
		return err
	}
	product, err := s.Update(c.Request().Context(), id, change)
	if err != nil {
		return err
	}
	if product == nil {
		return web.NotFound("product", c.Param("id"))
	}
	return web.JSON(c, http.StatusOK, product)
}

func (s *Service) upload(c echo.Context) error {
	product, err := s.product(c)
	if err != nil {
		return err
	}
	data, err := uploaded(c)
	if err != nil {
		return err
	}
	mime := http.DetectContentType(data)
	if mime != "image/png" && mime != "image/jpeg" && mime != "image/gif" {
		return web.Invalid("image", "must be a PNG, JPEG or GIF picture")
	}
	if err := s.SetImage(c.Request().Context(), product.ID, mime, data); err != nil {
		return err
	}
	return web.JSON(c, http.StatusCreated, struct {
		ProductID int64  `json:"product_id"`
		Bytes     int    `json:"bytes"`
		Mime      string `json:"mime"`
	}{product.ID, len(data), mime})
}

// uploaded reads the file in the multipart field "image".
func uploaded(c echo.Context) ([]byte, error) {
	tooLarge := web.Invalid("image", "must be at most 1 MiB")
	c.Request().Body = http.MaxBytesReader(c.Response(), c.Request().Body, maxUpload)
	header, err := c.FormFile("image")
	var limit *http.MaxBytesError
	if errors.As(err, &limit) {
		return nil, tooLarge
	}
	if err != nil {
		return nil, web.Invalid("image", "is required as a file of a multipart form")
	}
	if header.Size > maxImage {
		return nil, tooLarge
	}
	file, err := header.Open()
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return io.ReadAll(file)
}
