package customers

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"net/http"
	"strconv"
	"strings"

	"github.com/labstack/echo/v4"

	"stranglerfig/monolith/web"
)

const (
	// maxIDs is how many customers may be asked for at once.
	maxIDs = 200
	// maxPassword is what bcrypt can take, in bytes.
	maxPassword = 72
	maxName     = 200
)

//go:embed login.html
var loginHTML string

var loginPage = template.Must(template.New("login").Parse(loginHTML))

// Routes registers the logins and everything under /customers.
func (s *Service) Routes(e *echo.Echo, access web.Access) {
	web.Read(e, "/login", s.form)
	e.POST("/login", s.login)
	e.POST("/logout", s.logout)
	web.Read(e, "/me", s.me, access.Login)
	web.Read(e, "/customers", s.names, access.TokenOnly)
	web.Read(e, "/customers/:id", s.show, access.Login)
	e.POST("/customers", s.register, access.TokenOnly)
}

func (s *Service) form(c echo.Context) error {
	html, err := renderLogin("")
	if err != nil {
		return err
	}
	return web.Content(c, web.TypeHTML, html)
}

func renderLogin(problem string) ([]byte, error) {
	var html bytes.Buffer
	err := loginPage.Execute(&html, problem)
	return html.Bytes(), err
}

func (s *Service) login(c echo.Context) error {
	if sendsJSON(c) {
		return s.loginJSON(c)
	}
	c.Request().Body = http.MaxBytesReader(c.Response(), c.Request().Body, web.MaxBody)
	token, _, err := s.Login(c.Request().Context(), c.FormValue("email"), c.FormValue("password"))
	if isUnauthorized(err) {
		html, err := renderLogin("Email or password is wrong.")
		if err != nil {
			return err
		}
		return c.Blob(http.StatusUnauthorized, web.TypeHTML, html)
	}
	if err != nil {
		return err
	}
	setCookie(c, token, int(sessionLife.Seconds()))
	return c.Redirect(http.StatusSeeOther, "/")
}

func (s *Service) loginJSON(c echo.Context) error {
	body, err := web.Body(c)
	if err != nil {
		return err
	}
	form, err := web.ParseForm(body)
	if err != nil {
		return err
	}
	email, password := form.Text("email", maxName), form.Text("password", maxPassword)
	if err := form.Err(); err != nil {
		return err
	}
	token, id, err := s.Login(c.Request().Context(), email, password)
	if err != nil {
		return err
	}
	setCookie(c, token, int(sessionLife.Seconds()))
	return web.JSON(c, http.StatusOK, map[string]int64{"customer_id": id})
}

func isUnauthorized(err error) bool {
	answer, ok := err.(*web.Error)
	return ok && answer.Status == http.StatusUnauthorized
}

func (s *Service) logout(c echo.Context) error {
	if cookie, err := c.Cookie(web.SessionCookie); err == nil {
		if err := s.Logout(c.Request().Context(), cookie.Value); err != nil {
			return err
		}
	}
	setCookie(c, "", -1)
	if sendsJSON(c) {
		return c.NoContent(http.StatusNoContent)
	}
	return c.Redirect(http.StatusSeeOther, "/")
}

func sendsJSON(c echo.Context) bool {
	return strings.HasPrefix(c.Request().Header.Get(echo.HeaderContentType), web.TypeJSON)
}

// setCookie hands out the session; a negative age in seconds removes it.
func setCookie(c echo.Context, token string, age int) {
	c.SetCookie(&http.Cookie{Name: web.SessionCookie, Value: token, Path: "/", MaxAge: age,
		HttpOnly: true, SameSite: http.SameSiteLaxMode})
}

func (s *Service) me(c echo.Context) error {
	viewer := web.ViewerOf(c)
	if viewer.Token {
		return web.Unauthorized()
	}
	customer, err := s.one(c.Request().Context(), viewer.CustomerID)
	if err != nil {
		return err
	}
	if customer == nil {
		return web.Unauthorized()
	}
	return web.Found(c, struct {
		CustomerID int64  `json:"customer_id"`
		Name       string `json:"name"`
		Email      string `json:"email"`
	}{customer.ID, customer.Name, customer.Email})
}

func (s *Service) names(c echo.Context) error {
	ids, err := parseIDs(c.QueryParam("ids"))
	if err != nil {
		return err
	}
	customers, err := s.Find(c.Request().Context(), ids)
	if err != nil {
		return err
	}
	type name struct {
		ID   int64  `json:"id"`
		Name string `json:"name"`
	}
	names := []name{}
	for _, customer := range customers {
		names = append(names, name{customer.ID, customer.Name})
	}
	return web.Found(c, map[string][]name{"customers": names})
}

func parseIDs(list string) ([]int64, error) {
	texts := strings.Split(list, ",")
	if len(texts) > maxIDs {
		return nil, web.Invalid("ids", fmt.Sprintf("must be at most %d ids", maxIDs))
	}
	var ids []int64
	for _, text := range texts {
		id, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return nil, web.Invalid("ids", "must be integers separated by commas")
		}
		ids = append(ids, id)
	}
	return ids, nil
}

// view is a customer as the API shows it.
type view struct {
	ID      int64  `json:"id"`
	Email   string `json:"email"`
	Name    string `json:"name"`
	Created string `json:"created"`
}

func viewOf(c Customer) view { return view{c.ID, c.Email, c.Name, c.Created} }

func (s *Service) show(c echo.Context) error {
	id, err := web.PathID(c, "customer")
	if err != nil {
		return err
	}
	if !web.ViewerOf(c).Sees(id) {
		return web.NotFound("customer", c.Param("id"))
	}
	customer, err := s.one(c.Request().Context(), id)
	if err != nil {
		return err
	}
	if customer == nil {
		return web.NotFound("customer", c.Param("id"))
	}
	return web.Found(c, viewOf(*customer))
}

func (s *Service) register(c echo.Context) error {
	body, err := web.Body(c)
	if err != nil {
		return err
	}
	form, err := web.ParseForm(body)
	if err != nil {
		return err
	}
	email, name := form.Text("email", maxName), form.Text("name", maxName)
	password := form.Text("password", maxPassword)
	if !strings.Contains(email, "@") {
		form.Add("email", "must be an email address")
	}
	if len(password) > maxPassword {
		form.Add("password", "must be at most 72 bytes")
	}
	if err := form.Err(); err != nil {
		return err
	}
	customer, err := s.Register(c.Request().Context(), email, name, password)
	if err != nil {
		return err
	}
	c.Response().Header().Set(echo.HeaderLocation, fmt.Sprintf("/customers/%d", customer.ID))
	return web.JSON(c, http.StatusCreated, viewOf(customer))
}
