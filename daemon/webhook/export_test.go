package webhook

// SetScan bounds how many deliveries are looked at at once.
func (s *Service) SetScan(n int) { s.scan = n }
