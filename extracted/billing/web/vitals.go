package web

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/labstack/echo/v4"
)

// Vitals registers /healthz, /readyz and /buildz. ping asks the database
// whether it is there.
func Vitals(e *echo.Echo, name string, ping func(context.Context) error) error {
	build, err := buildID()
	if err != nil {
		return err
	}
	ok := map[string]string{"status": "ok"}
	Read(e, "/healthz", func(c echo.Context) error { return JSON(c, http.StatusOK, ok) })
	Read(e, "/readyz", func(c echo.Context) error {
		ctx, cancel := context.WithTimeout(c.Request().Context(), 2*time.Second)
		defer cancel()
		if err := ping(ctx); err != nil {
			return &Error{Status: http.StatusServiceUnavailable, Message: "the database does not answer", Again: true}
		}
		return JSON(c, http.StatusOK, ok)
	})
	Read(e, "/buildz", func(c echo.Context) error {
		return JSON(c, http.StatusOK, struct {
			Name  string `json:"name"`
			Build string `json:"build"`
		}{name, build})
	})
	return nil
}

// buildID tells builds apart by the executable's own bytes.
func buildID() (string, error) {
	path, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("find the running executable: %w", err)
	}
	file, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("read the running executable: %w", err)
	}
	defer file.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, file); err != nil {
		return "", fmt.Errorf("read the running executable: %w", err)
	}
	return hex.EncodeToString(sum.Sum(nil))[:16], nil
}
