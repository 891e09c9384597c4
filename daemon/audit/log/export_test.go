package auditlog

// ParseEntries and StoreLines are how the log stands in the store.
var (
	ParseEntries = parseEntries
	StoreLines   = storeLines
	Entries      = storedEntries
	Blocks       = storedBlocks
)

// ValueFull is how many entries a value has that nothing is added to.
const ValueFull = valueFull
