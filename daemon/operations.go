package daemon

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/mintwarden/mintwarden/daemon/operation"
)

// operationArchive is where operations go that are over, as the config has it. What was archived once is read also
// where nothing more is to be archived.
func (p *parts) operationArchive() (operation.Archive, error) {
	a := operation.Archive{Appliance: p.cfg.Appliance, Appliances: p.appliances, Retention: p.cfg.Operation.Retention}
	if p.cfg.Audit.Dir == "" {
		return a, nil
	}
	dir := filepath.Join(p.cfg.Audit.Dir, "operations")
	if a.Retention == 0 {
		_, err := os.Stat(dir)
		if errors.Is(err, fs.ErrNotExist) {
			return a, nil
		}
		if err != nil {
			return a, fmt.Errorf("daemon: the archive of operations: %w", err)
		}
	}
	a.Dir = dir
	return a, nil
}
