package webhook

// SetScan bounds how many deliveries are looked at at once.
func (s *Service) SetScan(n int) { s.scan = n }

// SetTogether bounds how many deliveries wait for all endpoints before one is held to its part.
func (s *Service) SetTogether(n int64) { s.together = n }

// ParseArchivedID is what an archived delivery's name says.
var ParseArchivedID = parseArchivedID
