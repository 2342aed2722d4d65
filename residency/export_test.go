package residency

// Resolve is resolve, for tests: a decision shows its outcome only among much else.
func (l Location) Resolve() (places []Place, problem string) { return l.resolve() }

// DecodeRegions is decodeRegions, for tests: the table that ships is right, and never shows what is refused.
func DecodeRegions(file, data string) ([]Region, error) { return decodeRegions(file, data) }

// RegionTable is the text of the table that ships.
func RegionTable() string { return regionTable }
