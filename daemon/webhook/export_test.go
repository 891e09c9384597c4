package webhook

// SetScan bounds how many deliveries are looked at at once.
func (s *Service) SetScan(n int) { s.scan = n }

// ParseArchivedID is what an archived delivery's name says.
var ParseArchivedID = parseArchivedID
