package api

import (
	"net/http"

	"github.com/mintwarden/mintwarden/daemon/registry"
)

// code is one row of the document's error table.
type code struct {
	number int
	name   string
	status int // HTTP
}

// The whole table. Where a type has two statuses the first stands here and the
// other is set by who knows (problem.status).
var codes = []code{
	{1000, registry.Unauthorized, http.StatusUnauthorized},
	{1001, registry.Forbidden, http.StatusForbidden},
	{1002, registry.APIKeyRevoked, http.StatusUnauthorized},
	{1100, registry.Validation, http.StatusBadRequest},
	{1101, registry.MissingField, http.StatusBadRequest},
	{1102, registry.InvalidAddress, http.StatusBadRequest},
	{1103, registry.InvalidAmount, http.StatusBadRequest},
	{1107, "INVALID_URL", http.StatusBadRequest},
	{1108, registry.InvalidPagination, http.StatusBadRequest},
	{1110, registry.StringTooLong, http.StatusBadRequest},
	{1111, bodyTooLarge, http.StatusRequestEntityTooLarge},
	{1112, registry.NotFound, http.StatusNotFound},
	{1200, registry.PolicyDenied, http.StatusUnprocessableEntity},
	{1201, registry.ApprovalRequired, http.StatusConflict},
	{1202, registry.ApprovalInvalid, http.StatusUnprocessableEntity},
	{1203, registry.ApprovalDuplicate, http.StatusConflict},
	{1300, registry.TxNotFound, http.StatusNotFound},
	{1301, registry.TxStateConflict, http.StatusConflict},
	{1304, registry.TxInsufficientFunds, http.StatusUnprocessableEntity},
	{1400, registry.VaultNotFound, http.StatusNotFound},
	{1500, registry.NodeUnavailable, http.StatusServiceUnavailable},
	{1600, internalFault, http.StatusInternalServerError},
	{1601, idempotencyConflict, http.StatusUnprocessableEntity},
	{1602, idempotencyInProgress, http.StatusConflict},
	{1603, sealedType, http.StatusServiceUnavailable},
	{1604, registry.RateLimited, http.StatusTooManyRequests},
	{1605, hsmUnavailable, http.StatusServiceUnavailable},
	{1606, storeUnavailable, http.StatusServiceUnavailable},
	{1700, registry.StandardNotSupported, http.StatusUnprocessableEntity},
	{1701, registry.TemplateNotFound, http.StatusNotFound},
	{1702, registry.AlreadyDeployed, http.StatusConflict},
	{1703, registry.NotDeployed, http.StatusConflict},
	{1704, registry.OperationNotAllowed, http.StatusUnprocessableEntity},
	{1705, registry.SupplyExceeded, http.StatusUnprocessableEntity},
	{1706, registry.MintNotAllowed, http.StatusForbidden},
	{1707, registry.BurnNotAllowed, http.StatusForbidden},
	{1708, registry.RoleRequired, http.StatusForbidden},
	{1709, registry.DeploymentFailed, http.StatusUnprocessableEntity},
	{1712, registry.InvalidRecipient, http.StatusBadRequest},
	{1713, registry.InvalidTokenAmount, http.StatusBadRequest},
	{1714, registry.ComplianceFailed, http.StatusUnprocessableEntity},
	{1715, registry.AlreadyProcessed, http.StatusConflict},
}

// The types that only this package gives.
const (
	bodyTooLarge          = "BODY_TOO_LARGE"
	internalFault         = "INTERNAL"
	idempotencyConflict   = "IDEMPOTENCY_CONFLICT"
	idempotencyInProgress = "IDEMPOTENCY_IN_PROGRESS"
	sealedType            = "SEALED"
	hsmUnavailable        = "HSM_UNAVAILABLE"
	storeUnavailable      = "STORE_UNAVAILABLE"
)

var byType = func() map[string]code {
	m := make(map[string]code, len(codes))
	for _, c := range codes {
		m[c.name] = c
	}
	return m
}()
