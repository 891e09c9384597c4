package registry

import "fmt"

// Error types of the HTTP API's table (spec: api, "Errors") that the packages
// behind the API give. The API turns a type into its code and status.
const (
	Unauthorized         = "UNAUTHORIZED"
	Forbidden            = "FORBIDDEN"
	APIKeyRevoked        = "API_KEY_REVOKED"
	Validation           = "VALIDATION"
	MissingField         = "MISSING_FIELD"
	InvalidAddress       = "INVALID_ADDRESS"
	InvalidAmount        = "INVALID_AMOUNT"
	InvalidPagination    = "INVALID_PAGINATION"
	StringTooLong        = "STRING_TOO_LONG"
	NotFound             = "NOT_FOUND"
	PolicyDenied         = "POLICY_DENIED"
	ApprovalRequired     = "APPROVAL_REQUIRED"
	ApprovalInvalid      = "APPROVAL_INVALID"
	ApprovalDuplicate    = "APPROVAL_DUPLICATE"
	TxNotFound           = "TX_NOT_FOUND"
	TxStateConflict      = "TX_STATE_CONFLICT"
	TxInsufficientFunds  = "TX_INSUFFICIENT_FUNDS"
	VaultNotFound        = "VAULT_NOT_FOUND"
	NodeUnavailable      = "NODE_UNAVAILABLE"
	RateLimited          = "RATE_LIMITED"
	StandardNotSupported = "TOKEN_STANDARD_NOT_SUPPORTED"
	TemplateNotFound     = "TOKEN_TEMPLATE_NOT_FOUND"
	AlreadyDeployed      = "TOKEN_ALREADY_DEPLOYED"
	NotDeployed          = "TOKEN_NOT_DEPLOYED"
	OperationNotAllowed  = "TOKEN_OPERATION_NOT_ALLOWED"
	SupplyExceeded       = "TOKEN_SUPPLY_EXCEEDED"
	MintNotAllowed       = "TOKEN_MINT_NOT_ALLOWED"
	BurnNotAllowed       = "TOKEN_BURN_NOT_ALLOWED"
	RoleRequired         = "TOKEN_ROLE_REQUIRED"
	DeploymentFailed     = "TOKEN_DEPLOYMENT_FAILED"
	InvalidRecipient     = "TOKEN_INVALID_RECIPIENT"
	InvalidTokenAmount   = "TOKEN_INVALID_AMOUNT"
	ComplianceFailed     = "TOKEN_COMPLIANCE_RESTRICTION_FAILED"
	AlreadyProcessed     = "TOKEN_OPERATION_ALREADY_PROCESSED"
)

// Refusal is an error that a caller of the API is meant to read: what was
// asked cannot be done, and it is not a fault of the appliance. Nothing was
// stored and nothing signed.
type Refusal struct {
	// Type is one of the types of the API's error table.
	Type string
	// Message says what is wrong with which value, and what to do. It never
	// holds a secret.
	Message string
	// Details are the error's machine-readable parts; nil when there are none.
	Details map[string]any
}

func (r *Refusal) Error() string { return r.Type + ": " + r.Message }

// Refuse makes a refusal whose message is formatted as by fmt.Sprintf.
func Refuse(kind, format string, args ...any) *Refusal {
	return &Refusal{Type: kind, Message: fmt.Sprintf(format, args...)}
}
