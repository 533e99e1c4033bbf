package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"stranglerfig/strangler-proxy/config"
	"stranglerfig/strangler-proxy/control/api"
)

// destinations refuses files that could not be written, before anything is done
// for them: a run that was made and filed cannot be made again for the sake of a
// mistyped folder. Files are given after what named them, such as --html.
func destinations(named ...[2]string) error {
	var problems []error
	by := map[string]string{}
	for _, n := range named {
		if n[1] == "" || n[1] == "-" {
			continue
		}
		path := filepath.Clean(n[1])
		err := writable(path)
		if other, twice := by[path]; twice {
			err = fmt.Errorf("%s names that file as well", other)
		}
		by[path] = n[0]
		if err != nil {
			problems = append(problems, fmt.Errorf("%s %s: %w", n[0], n[1], err))
		}
	}
	if err := errors.Join(problems...); err != nil {
		return &api.Error{Text: err.Error(), Hint: "nothing was done; name a file in a folder that exists and may be written", Code: api.ExitNo}
	}
	return nil
}

// spare refuses a report that would take the place of a file which is read for it.
func spare(read []string, named ...[2]string) error {
	for _, n := range named {
		for _, path := range read {
			if n[1] != "" && path != "" && config.SameFile(n[1], path) {
				return &api.Error{Text: fmt.Sprintf("%s %s: that is %s, which would be overwritten", n[0], n[1], path), Hint: "nothing was done; name another file", Code: api.ExitNo}
			}
		}
	}
	return nil
}

// writable tries what writing the file will do: a file beside it that takes its
// name. Anything but a plain file would be replaced by one, a device as well.
func writable(path string) error {
	switch info, err := os.Stat(path); {
	case err == nil && info.IsDir():
		return errors.New("that is a folder (accepted: a file)")
	case err == nil && !info.Mode().IsRegular():
		return errors.New("that is no plain file (accepted: a file, which is written anew)")
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return plainly(err)
	}
	dir := filepath.Dir(path)
	switch info, err := os.Stat(dir); {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("there is no folder %s", dir)
	case err != nil:
		return plainly(err)
	case !info.IsDir():
		return fmt.Errorf("%s is no folder", dir)
	}
	temp, err := os.CreateTemp(dir, ".strangler.*")
	if err != nil {
		return fmt.Errorf("the folder %s cannot be written: %w", dir, plainly(err))
	}
	return errors.Join(temp.Close(), os.Remove(temp.Name()))
}

// plainly is why something about a file did not work, without the file's name,
// which the message says already.
func plainly(err error) error {
	var at *fs.PathError
	if errors.As(err, &at) {
		return at.Err
	}
	return err
}
